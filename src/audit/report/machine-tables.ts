import { type Cell, code, table, type TableBlock, words } from "./blocks.ts";
import { bytes, percent, plain, seconds, share } from "./figures.ts";
import type { Report, ReportEngine } from "./schema.ts";

export function modelTables({ model, engines, dataset }: Report): TableBlock[] {
  const facts: Cell[][] = [
    ["task", model.task],
    ["inputs", words(model.inputs.join("; ") || "-")],
    ["outputs", words(model.outputs.join("; ") || "-")],
    ...model.sourceSha256.map((sha256): Cell[] => ["ONNX SHA-256", code(sha256)]),
  ];
  if (model.work !== null) facts.push(["work per input", words(workOf(model.work))]);
  if (dataset !== null) facts.push(["inputs' SHA-256", code(dataset.sha256)]);
  return [
    ...table("Model", facts, ["", ""]),
    ...table(
      "Engines as built",
      engines.map((engine): Cell[] => [
        code(engine.id),
        `${engine.compiler} ${engine.compilerVersion}`,
        engine.runtime ?? "-",
        engine.precision,
        words(engine.target ?? "-"),
        String(engine.threads),
        words(settings(engine)),
        bytes(engine.artifactBytes),
        bytes(engine.residentBytes),
        engine.builtAt.slice(0, 10),
      ]),
      [
        "engine",
        "compiler",
        "runtime",
        "precision",
        "target",
        "threads",
        "options",
        "artifact",
        "resident",
        "built",
      ],
    ),
  ];
}

function workOf({
  floatingPointOperations,
  countedNodes,
  unknownReason,
}: NonNullable<Report["model"]["work"]>): string {
  if (floatingPointOperations === null) return `GFLOP unknown: ${unknownReason}`;
  const nodes = Object.entries(countedNodes).map(([operator, n]) => `${n} ${operator}`);
  const of = nodes.length === 0 ? "no" : nodes.join(", ");
  return `${plain(floatingPointOperations / 1e9)} GFLOP: 2 per multiply-accumulate of ${of} in the ONNX graph; shapes by ONNX Runtime`;
}

/** Options that were given or defaulted, and the seed where there is one. */
function settings({ options, seed }: ReportEngine): string {
  const given = Object.entries(options).filter(([, value]) => value !== null);
  const all = seed === null ? given : [...given, ["seed", seed] as const];
  const text = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
  return all.map(([name, value]) => `${name}=${text(value)}`).join(", ") || "-";
}

export function platformTables({ platform }: Report): TableBlock[] {
  const { operatingSystem, architecture, processor, cores, memoryBytes, node, gpus } = platform;
  return table(
    "Platform",
    [
      ["processor", words(processor)],
      ["cores", String(cores)],
      ["memory", bytes(memoryBytes)],
      ["system", words(`${operatingSystem}, ${architecture}`)],
      ["clock governor", platform.governor ?? "not told"],
      ["Node", node],
      ...gpus.map((gpu): Cell[] => [
        "GPU",
        words(
          `${gpu.name}, driver ${gpu.driver}, ${bytes(gpu.memoryTotalBytes)}, ${gpu.powerMode ?? "power mode unknown"}`,
        ),
      ]),
      ...(gpus.length === 0 ? [["GPU", "none found"]] : []),
    ],
    ["", ""],
  );
}

export function utilisationTables({ platform, engines, run }: Report): TableBlock[] {
  const rows = platform.gpus.map((gpu): Cell[] => [
    words(gpu.name),
    String(gpu.samples),
    percent(gpu.utilizationMeanRatio),
    bytes(gpu.memoryUsedMaxBytes),
    plain(gpu.powerMeanWatts),
    plain(gpu.energyJoules),
    plain(gpu.temperatureMaxCelsius),
    words(
      Object.entries(gpu.clocksHertz)
        .map(([domain, hertz]) => `${domain} ${Math.round(hertz / 1e6)} MHz`)
        .join(", ") || "-",
    ),
    share(gpu.throttledSamples, gpu.samples),
  ]);
  const processor = engines.flatMap(({ id, cpu, latency }): Cell[][] =>
    cpu === null
      ? []
      : [
          [
            code(id),
            String(cpu.requests),
            seconds(cpu.secondsPerRequest),
            seconds(latency.meanSeconds),
            plain(cpu.coresBusy),
          ],
        ],
  );
  const gpu = table("GPU over the whole audit, all engines together", rows, [
    "GPU",
    "readings",
    "busy",
    "memory, most",
    "watts",
    "joules",
    "°C, most",
    "clocks at the end",
    "throttled",
  ]);
  return [
    ...gpu,
    ...table("Processor time of each engine's host, over its timed requests", processor, [
      "engine",
      "requests",
      "processor time a request",
      "engine time, mean",
      "cores busy",
    ]),
    ...slowTogetherTable(run),
    ...streamTables(engines),
  ];
}

function slowTogetherTable(run: Report["run"]): TableBlock[] {
  const rows = (run?.slowTogether ?? []).map(
    ({ device, engines, rounds, expectedRounds, longestStretch }): Cell[] => [
      words(device),
      words(engines.join(", ")),
      share(rounds, run?.requestsPerEngine ?? 0),
      plain(expectedRounds),
      String(longestStretch),
    ],
  );
  return table(
    "Slow at once: something else had the device (other work, clocks, the hypervisor), so tails say little of the engines",
    rows,
    ["device", "engines", "rounds with all over twice their median", "by chance", "longest stretch"],
  );
}

function streamTables(engines: readonly ReportEngine[]): TableBlock[] {
  const step = (found: NonNullable<ReportEngine["streams"]>["held"], otherwise: string): Cell[] =>
    found === null
      ? [otherwise, "-", "-"]
      : [String(found.streams), share(found.misses, found.requests), percent(found.missUpperBoundRatio)];
  const rows = engines.flatMap(({ id, streams }): Cell[][] =>
    streams === null
      ? []
      : [
          [
            code(id),
            seconds(streams.periodSeconds),
            percent(streams.targetMissRatio),
            ...step(streams.held, streams.notHeld?.streams === 1 ? "none" : "not found"),
            ...step(streams.notHeld, streams.unknownReason ?? "not found"),
          ],
        ],
  );
  return table("Most streams, one frame a period each, answered within a period", rows, [
    "engine",
    "period",
    "may be late",
    "streams held",
    "late",
    "at most (95 %)",
    "not held",
    "late",
    "at most (95 %)",
  ]);
}
