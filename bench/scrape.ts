/**
 * What scraping does to requests: a server that holds the metrics of 10 models x 8 engines answers requests of 0.2 ms
 * of work at a fixed rate, with and without two scrapes a second, in alternating order.
 *
 *     npx tsx bench/scrape.ts
 */
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setServingFlags } from "../src/cli/v8-flags.ts";
import { systemClock } from "../src/core/clock.ts";
import { createMetrics } from "../src/metrics/metrics.ts";
import { createMetricsService } from "../src/metrics/service.ts";
import { fillGateway } from "./metrics-load.ts";

const rate = 300;
const seconds = 5;
const pairs = 5;

setServingFlags();
const metrics = createMetrics({ clock: systemClock });
const service = createMetricsService({ metrics });
fillGateway(metrics, { models: 10, engines: 8, runs: 2_000 });
const latency = metrics.latency({ model: "model-0", engine: "onnxruntime-0", role: "active" });

const server = createServer(async (request, response) => {
  if (request.url === "/metrics") {
    const { contentType, chunks } = service.scrape(request.headers.accept);
    response.writeHead(200, { "content-type": contentType });
    for await (const chunk of chunks) response.write(chunk);
    response.end();
    return;
  }
  const end = performance.now() + 0.2;
  while (performance.now() < end);
  latency.record(0.0002);
  response.end("{}");
}).listen(0, "127.0.0.1", () => {
  void run(`http://127.0.0.1:${(server.address() as AddressInfo).port}`).finally(() => server.close());
});

interface Figures {
  readonly p50: number;
  readonly p99: number;
}

async function run(url: string): Promise<void> {
  await load(url, 0);
  const off: Figures[] = [];
  const on: Figures[] = [];
  for (let pair = 0; pair < pairs; pair += 1) {
    for (const scraped of pair % 2 === 0 ? [false, true] : [true, false]) {
      (scraped ? on : off).push(await load(url, scraped ? 2 : 0));
    }
  }
  console.log(`${rate} requests/s of 0.2 ms, ${pairs} pairs of ${seconds} s, 2 scrapes/s of 16,000 lines`);
  for (const key of ["p50", "p99"] as const) {
    const ratios = on.map((figures, at) => figures[key] / (off[at] as Figures)[key]);
    const spread = off.map((figures) => figures[key].toFixed(2)).join(" ");
    console.log(
      `  ${key}: ${median(off.map((f) => f[key])).toFixed(2)} ms without (runs: ${spread}), ` +
        `${median(on.map((f) => f[key])).toFixed(2)} ms with; ratio, median of pairs: ${median(ratios).toFixed(3)}`,
    );
  }
}

async function load(url: string, scrapes: number): Promise<Figures> {
  const client = fileURLToPath(new URL("scrape-client.mjs", import.meta.url));
  const args = [client, url, rate, seconds, scrapes].map(String);
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Figures;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
