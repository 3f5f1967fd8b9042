import { type Cell, code, table, type TableBlock, words } from "./blocks.ts";
import { bytes, percent, plain, share } from "./figures.ts";
import type { Report, ReportEngine } from "./schema.ts";

export function modelTables({ model, engines, dataset }: Report): TableBlock[] {
  const facts: Cell[][] = [
    ["task", model.task],
    ["inputs", words(model.inputs.join("; ") || "-")],
    ["outputs", words(model.outputs.join("; ") || "-")],
    ...model.sourceSha256.map((sha256): Cell[] => ["ONNX SHA-256", code(sha256)]),
  ];
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

export function utilisationTables({ platform }: Report): TableBlock[] {
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
  return table("GPU over the whole audit, all engines together", rows, [
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
}
