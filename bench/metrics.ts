/**
 * Cost of metrics: recording on the hot path, and a scrape with 10 models x 8 engines x 3 roles while the event loop is
 * watched. prom-client with the same number of lines stands beside it. Times are this process's CPU time where other
 * work on the machine would show in the clock.
 *
 *     npx tsx bench/metrics.ts
 */
import { Gauge, Registry } from "prom-client";
import { setServingFlags } from "../src/cli/v8-flags.ts";
import { systemClock } from "../src/core/clock.ts";
import { createMetrics } from "../src/metrics/metrics.ts";
import { createMetricsService } from "../src/metrics/service.ts";
import { fillGateway } from "./metrics-load.ts";

setServingFlags();
const metrics = createMetrics({ clock: systemClock });
const service = createMetricsService({ metrics });

let bytes = 0;
const before = process.memoryUsage();
fillGateway(metrics, { models: 10, engines: 8, runs: 2_000 });
globalThis.gc?.();
const after = process.memoryUsage();

console.log("recording, ns a call");
const latency = metrics.latency({ model: "model-0", engine: "autotvm-0", role: "active" });
const labels = { model: "model-0", engine: "autotvm-0", code: 200 };
row(
  "latency().record",
  perCall((n) => latency.record(0.001 + (n % 1000) * 1e-6)),
);
row(
  "inc requests_total",
  perCall(() => metrics.inc("requests_total", labels)),
);
row(
  "observe request_duration_seconds",
  perCall(() => metrics.observe("request_duration_seconds", labels, 0.002)),
);
row(
  "  with an exemplar",
  perCall(() =>
    metrics.observe("request_duration_seconds", labels, 0.002, { request_id: "0123456789abcdef" }),
  ),
);
row(
  "set queue_length",
  perCall((n) => metrics.set("queue_length", { model: "model-0" }, n)),
);

console.log("\nno scrape, 100 ms (what other work on the machine does to the clock), 21 times");
print(await watched(21, () => new Promise((resolve) => setTimeout(resolve, 100))));

console.log("\nscrape, 10 models x 8 engines x 3 roles, 21 times");
for (const accept of [undefined, "application/openmetrics-text"]) {
  const text = await service.scrape(accept).text();
  console.log(
    `  ${accept ?? "text 0.0.4"}: ${text.split("\n").length} lines, ${(text.length / 1e6).toFixed(2)} MB, recorder holds ` +
      `${((after.rss - before.rss) / 1e6).toFixed(0)} MB resident, ${((after.arrayBuffers - before.arrayBuffers) / 1e6).toFixed(0)} MB of it arrays`,
  );
  const runs = await watched(21, () => drained(service.scrape(accept).chunks));
  print(runs);
}

const text = await service.scrape(undefined).text();
const registry = new Registry();
const gauge = new Gauge({
  name: "crosscheck_lines",
  help: "as many lines",
  labelNames: ["model", "engine", "line"],
  registers: [registry],
});
const count = text.split("\n").length;
for (let n = 0; n < count; n += 1)
  gauge.set({ model: `model-${n % 10}`, engine: `onnxruntime-fp16-${n % 8}`, line: n }, n);
console.log(`\nprom-client, one gauge of ${count} lines, 21 times`);
print(await watched(21, () => registry.metrics()));

function row(name: string, nanoseconds: number): void {
  console.log(`  ${name.padEnd(36)} ${nanoseconds.toFixed(0).padStart(6)}`);
}

/** Median of 9 rounds. */
function perCall(call: (n: number) => void): number {
  const rounds = 50_000;
  const times = Array.from({ length: 9 }, () => {
    const start = cpuMs();
    for (let n = 0; n < rounds; n += 1) call(n);
    return ((cpuMs() - start) / rounds) * 1e6;
  });
  return median(times);
}

async function drained(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of chunks) bytes += chunk.length;
}

interface Scraped {
  readonly milliseconds: number;
  /** Longest stretch without a turn of the event loop: by the clock, and this process's CPU time in one. */
  readonly pauseMs: number;
  readonly pauseCpuMs: number;
}

/** Work between two turns of the event loop; the garbage collector's threads count too. */
async function watched(times: number, scrape: () => Promise<unknown>): Promise<Scraped[]> {
  const runs: Scraped[] = [];
  for (let run = 0; run < times; run += 1) {
    // Percentiles are a second old by then, so that each scrape computes them anew.
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    let pauseMs = 0;
    let pauseCpuMs = 0;
    let last = performance.now();
    let lastCpu = cpuMs();
    let watching = true;
    const turn = (): void => {
      const [now, cpu] = [performance.now(), cpuMs()];
      pauseMs = Math.max(pauseMs, now - last);
      pauseCpuMs = Math.max(pauseCpuMs, cpu - lastCpu);
      [last, lastCpu] = [now, cpu];
      if (watching) setImmediate(turn);
    };
    setImmediate(turn);
    const start = performance.now();
    await scrape();
    const milliseconds = performance.now() - start;
    turn();
    watching = false;
    runs.push({ milliseconds, pauseMs, pauseCpuMs });
  }
  return runs;
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function print(runs: readonly Scraped[]): void {
  const figures = (name: string, values: readonly number[]): string =>
    `${name}: median ${median(values).toFixed(1)}, largest ${Math.max(...values).toFixed(1)} ms`;
  console.log(
    `    ${figures(
      "longest pause, CPU",
      runs.map((run) => run.pauseCpuMs),
    )}`,
  );
  console.log(
    `    ${figures(
      "longest pause, clock",
      runs.map((run) => run.pauseMs),
    )}`,
  );
  console.log(
    `    ${figures(
      "whole scrape, clock",
      runs.map((run) => run.milliseconds),
    )}`,
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
