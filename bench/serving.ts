/**
 * One engine, alone and behind more and more of what serves it, side by side in one run: the runtime in a loop, the
 * engine behind the host pool, a bare Hono server with the runtime in its own process, the whole gateway in binary and
 * in JSON. Rows take turns in short rounds, so that every mood of the machine meets all of them; figures are medians of
 * the rounds, ratios and differences medians of those within a round.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { env, Tensor } from "onnxruntime-node";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import { createPool } from "../src/hosting/pool.ts";
import { childrenOf, cpuSecondsOf, root, type Server, startGateway, startServer } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import type { PreparedRequest } from "./support/http-client.ts";
import { latenciesMs, type LoadMode, type LoadResult, runLoad } from "./support/load.ts";
import { option, print, quick, tableHead, tableRow, tell } from "./support/options.ts";
import {
  artifactOf,
  type BenchModel,
  binaryRequest,
  demo,
  inputValues,
  jsonRequest,
  makeRepository,
  slim,
} from "./support/repository.ts";
import { openSession } from "./support/session.ts";
import { median, percentile } from "./support/statistics.ts";

interface Row {
  readonly label: string;
  run(mode: LoadMode): Promise<LoadResult>;
  /** Processor time that what serves has taken so far, its host processes included. */
  cpuSeconds(): number;
  /** Of the requests since the last call: their time over the engine's own, where the row knows it. */
  readonly hopsUs?: () => number[];
  /** Time that others get before the next row, for work that goes on after the last reply. */
  readonly restMs?: number;
}

interface Figures {
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
  readonly hopUs: number;
  readonly cpuUs: number;
}

/** `--only=TEXT`: only what holds it, as in "traffic-signs, concurrency 4". */
const only = option("only") ?? "";
const rounds = quick ? 2 : 5;
const seconds = quick ? 0.7 : 1.2;

env.logLevel = "error";
const models = [demo, slim].filter(({ name, onnx }) => {
  if (existsSync(onnx)) return true;
  print(`${name} is left out: its ONNX file is not on this machine.`);
  return false;
});
const plain = await makeRepository(models, { engines: 1, settings: ["shadow: { sampleRate: 0 }"] });
const shadowed = await makeRepository(models, { engines: 3, settings: [] });
const gateway = await startGateway(plain.path);
const shadowing = await startGateway(shadowed.path);
const bare = await startServer(
  [
    ...["--import", "tsx", join(root, "bench/support/bare-server.ts")],
    ...models.map((model) => `${model.name}=${artifactOf(plain.path, model)}`),
  ],
  {},
  async () => true,
);
const generator = startGenerator();
try {
  for (const model of models) await measure(model);
} finally {
  generator.close();
  await Promise.all([gateway.close(), shadowing.close(), bare.close()]);
  plain.remove();
  shadowed.remove();
}

async function measure(model: BenchModel): Promise<void> {
  const { rows, close } = await rowsOf(model);
  const rate = model === demo ? 200 : 20;
  const long = model === demo ? seconds : seconds * 1.5;
  const modes: readonly [string, LoadMode][] = [
    ...[1, 4, 16].map((concurrency): [string, LoadMode] => [
      `concurrency ${concurrency}`,
      { kind: "closed", concurrency, seconds: long },
    ]),
    [`open loop, ${rate}/s`, { kind: "open", ratePerSecond: rate, seconds: long * 2, seed: 1 }],
  ];
  const results = new Map<string, Figures[][]>();
  for (const [name, mode] of modes) {
    if (!`${model.name}, ${name}`.includes(only)) continue;
    const figures = rows.map((): Figures[] => []);
    results.set(name, figures);
    // The first round warms up.
    for (let round = -1; round < rounds; round += 1) {
      for (const [at, row] of rows.entries()) {
        const cpuBefore = row.cpuSeconds();
        const result = await row.run(mode);
        const one = figuresOf(row, result, row.cpuSeconds() - cpuBefore);
        if (round >= 0) figures[at]?.push(one);
        if (row.restMs !== undefined) await new Promise((resolve) => setTimeout(resolve, row.restMs));
      }
    }
    tell(`${model.name}, ${name}: done`);
  }
  close();
  report(
    model,
    rows.map(({ label }) => label),
    results,
  );
}

function figuresOf(row: Row, result: LoadResult, cpuSeconds: number): Figures {
  if (result.failed > 0)
    throw new Error(`${row.label}: ${result.failed} failed, ${result.errors.join("; ")}`);
  const latencies = latenciesMs(result);
  return {
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    perSecond: latencies.length / result.seconds,
    cpuUs: (cpuSeconds * 1e6) / latencies.length,
    hopUs: percentile(row.hopsUs?.() ?? [], 0.5),
  };
}

async function rowsOf(model: BenchModel): Promise<{ rows: Row[]; close: () => void }> {
  const artifact = artifactOf(plain.path, model);
  const session = await openSession(artifact);
  const values = inputValues(model);
  const feeds = { [model.input.name]: new Tensor("float32", values, model.input.shape) };
  const pool = createPool({
    label: { model: model.name, engine: "bench" },
    host: {
      command: [process.execPath, join(root, "dist/engines/onnxruntime/host.js")],
      workingDirectory: root,
      env: process.env,
    },
    artifact: { path: artifact, sha256: createHash("sha256").update(readFileSync(artifact)).digest("hex") },
    manifest: { options: { graphOptimizationLevel: "all" } },
    directory: root,
    threads: 1,
    instances: { min: 1, max: 1 },
    priority: "serving",
    clock: systemClock,
    log: silentLog,
  });
  await pool.start();
  const inputs = [{ ...model.input, datatype: "FP32" as const, data: new Uint8Array(values.buffer) }];
  const hops: number[] = [];
  const throughPool = async (): Promise<void> => {
    const began = performance.now();
    const { engineSeconds } = await pool.infer({ inputs });
    hops.push((performance.now() - began) * 1000 - engineSeconds * 1e6);
  };
  const [binary, json] = [binaryRequest(model), jsonRequest(model)];
  const rows: Row[] = [
    {
      label: "runtime in a loop",
      run: (mode) => runLoad(() => session.run(feeds), mode),
      cpuSeconds: () => cpuSecondsOf([process.pid]),
    },
    {
      label: "engine through the host pool",
      run: (mode) => runLoad(throughPool, mode),
      cpuSeconds: () => cpuSecondsOf([process.pid, ...pool.processes.map(({ pid }) => pid as number)]),
      hopsUs: () => hops.splice(0),
    },
    { label: "bare Hono server, binary", ...remote(bare, binary) },
    { label: "gateway, binary", ...remote(gateway, binary) },
    ...(model === demo ? [{ label: "gateway, JSON", ...remote(gateway, json) }] : []),
    {
      label: "gateway, binary, shadow as by default",
      ...remote(shadowing, binary),
      restMs: 500,
    },
  ];
  const close = (): void => {
    void pool.close();
    void session.release();
  };
  return { rows, close };
}

function remote(server: Server, request: PreparedRequest): Pick<Row, "run" | "cpuSeconds"> {
  return {
    async run(mode) {
      const { result, ids } = await generator.run({ port: server.port, request, mode });
      if (ids.answered + result.failed !== ids.sent || ids.foreign > 0 || ids.duplicated > 0)
        throw new Error(`replies were lost or mixed up: ${JSON.stringify(ids)}`);
      return result;
    },
    cpuSeconds: () => cpuSecondsOf([server.pid, ...childrenOf(server.pid)]),
  };
}

function report(model: BenchModel, labels: string[], results: Map<string, Figures[][]>): void {
  const us = (ms: number): string => (ms * 1000).toFixed(0);
  const bareRow = 2;
  print(`\n### ${model.name}, ${model.input.shape.join("x")} FP32, one thread, ${rounds} rounds\n`);
  for (const [mode, figures] of results) {
    const paired = (at: number, other: number, of: (one: Figures, base: Figures) => number): number =>
      median((figures[at] ?? []).map((one, round) => of(one, figures[other]?.[round] ?? one)));
    const p50Spread = (at: number): string => {
      const all = (figures[at] ?? []).map(({ p50 }) => p50);
      return `${us(Math.min(...all))} to ${us(Math.max(...all))}`;
    };
    print(
      tableHead([
        ...[mode, "p50 us", "p50 of rounds", "p99 us", "requests/s"],
        ...["p50 over the loop, us", "requests/s, ratio to bare", "processor us a request"],
      ]),
    );
    for (const [at, label] of labels.entries()) {
      const own = figures[at] ?? [];
      print(
        tableRow([
          label,
          us(median(own.map(({ p50 }) => p50))),
          p50Spread(at),
          us(median(own.map(({ p99 }) => p99))),
          median(own.map(({ perSecond }) => perSecond)).toFixed(0),
          us(paired(at, 0, (one, base) => one.p50 - base.p50)),
          paired(at, bareRow, (one, base) => one.perSecond / base.perSecond).toFixed(3),
          median(own.map(({ cpuUs }) => cpuUs)).toFixed(0),
        ]),
      );
    }
    print();
    if (mode !== "concurrency 1") continue;
    const hop = median((figures[1] ?? []).map(({ hopUs }) => hopUs));
    const over = paired(3, 0, (one, base) => (one.p50 - base.p50) * 1000);
    const bareOver = paired(bareRow, 0, (one, base) => (one.p50 - base.p50) * 1000);
    print(
      `- host hop (frame and shared memory both ways) over the engine's own time, p50: ${hop.toFixed(0)} us`,
    );
    print(
      `- whole gateway, binary, over the runtime's loop, p50: ${over.toFixed(0)} us; bare server: ${bareOver.toFixed(0)} us\n`,
    );
  }
}
