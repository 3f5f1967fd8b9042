/**
 * 1,000 switches between two engines under open-loop load: every request must be answered once, by its own id, and
 * those that are under way during a switch may take little longer than others: than those under way while a control
 * request that changes nothing is answered (its cost is no switch's), and than all under that load.
 */
import { startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { createHttpClient, type HttpClient, prepareRequest } from "./support/http-client.ts";
import { latenciesMs, type LoadResult, nowMs } from "./support/load.ts";
import { print, quick, serverCores, tell } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";
import { percentile } from "./support/statistics.ts";

const rounds = quick ? 2 : 5;
const switchesPerRound = quick ? 20 : 200;
const pauseMs = 25;
const ratePerSecond = 500;
/** A request that arrived this long before a switch may be under way in it. */
const leadMs = 3;
const engines = ["onnxruntime-1", "onnxruntime-2"];

const repository = await makeRepository([demo], { engines: 2, settings: ["shadow: { sampleRate: 0 }"] });
const gateway = await startGateway(repository.path);
const generator = startGenerator();
const request = binaryRequest(demo);
let switched = 0;

interface Window {
  readonly began: number;
  readonly ended: number;
}

/** By a client that takes as little of the machine as can be. */
async function timed(client: HttpClient): Promise<Window> {
  const began = nowMs();
  await client.send();
  return { began, ended: nowMs() };
}

const switches = engines.map((engine) =>
  createHttpClient(
    gateway.port,
    prepareRequest(`/v1/models/${demo.name}/switch`, JSON.stringify({ engine, reason: "bench" })),
  ),
);
const index = createHttpClient(gateway.port, prepareRequest("/v2/repository/index", "{}"));

function switchOnce(): Promise<Window> {
  switched += 1;
  return timed(switches[switched % 2] as HttpClient);
}

const askOnce = (): Promise<Window> => timed(index);

/** Control requests, paced alike, while the load runs. */
async function during(load: Promise<unknown>, act: () => Promise<Window>): Promise<Window[]> {
  await new Promise((resolve) => setTimeout(resolve, 300));
  const windows: Window[] = [];
  for (let n = 0; n < switchesPerRound; n += 1) {
    windows.push(await act());
    await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random())));
  }
  await load;
  return windows;
}

/** By arrival, not by overlap: the longer a request takes, the likelier it overlaps a switch. */
function underWay({ dueMs, doneMs }: LoadResult, windows: readonly Window[]): number[] {
  const latencies: number[] = [];
  for (const [at, due] of dueMs.entries())
    if (windows.some(({ began, ended }) => due >= began - leadMs && due <= ended))
      latencies.push((doneMs[at] as number) - due);
  return latencies;
}

try {
  // Both are loaded before anything is measured: the first switch starts the other engine.
  await switchOnce();
  await switchOnce();
  const all: number[] = [];
  const asked: number[][] = [];
  const atSwitch: number[][] = [];
  const switchMs: number[] = [];
  const total = { sent: 0, answered: 0, failed: 0, duplicated: 0, foreign: 0 };
  const served: Record<string, number> = {};
  const seconds = Math.ceil((switchesPerRound * (pauseMs + 12)) / 1000) + 1;
  for (let round = -1; round < rounds; round += 1) {
    const mode = { kind: "open", ratePerSecond, seconds, seed: round + 1 } as const;
    const quiet = generator.run({ port: gateway.port, request, mode });
    const askedWindows = await during(quiet, askOnce);
    const busy = generator.run({ port: gateway.port, request, mode });
    const windows = await during(busy, switchOnce);
    const [{ result: without }, { result, ids }] = [await quiet, await busy];
    if (round < 0) continue;
    total.failed += result.failed;
    for (const key of ["sent", "answered", "duplicated", "foreign"] as const) total[key] += ids[key];
    for (const [engine, count] of Object.entries(ids.engines)) served[engine] = (served[engine] ?? 0) + count;
    switchMs.push(...windows.map(({ began, ended }) => ended - began));
    all.push(...latenciesMs(without));
    asked.push(underWay(without, askedWindows));
    atSwitch.push(underWay(result, windows));
    tell(`round ${round + 1}: p99 ${p99(asked.at(-1))} ms without, ${p99(atSwitch.at(-1))} ms at a switch`);
  }
  const lost = total.sent - total.answered - total.failed;
  const shares = Object.entries(served).map(([engine, count]) => `${engine} ${count}`);
  const where = serverCores
    ? `; gateway and hosts on cores ${serverCores.join(" and ")}, load from others`
    : "";
  print(
    `\n${demo.name}, binary, open loop (Poisson), ${ratePerSecond}/s${where}; ${rounds} rounds of ${switchesPerRound} switches.\n`,
  );
  print(
    `- ${rounds * switchesPerRound} switches, ${total.sent} requests: ${total.failed} failed, ${lost} lost, ${total.duplicated} duplicated, ${total.foreign} answered with another's id; answered by ${shares.join(", ")}`,
  );
  print(
    `- a switch, from its request to its reply (log line on disk): p50 ${percentile(switchMs, 0.5).toFixed(1)} ms, p99 ${percentile(switchMs, 0.99).toFixed(1)} ms`,
  );
  const [switching, resting] = [atSwitch.flat(), asked.flat()];
  print(
    `- p99 of the ${switching.length} requests that arrived from ${leadMs} ms before a switch until its end: ${p99(switching)} ms (rounds: ${atSwitch.map(p99).join(", ")}); ` +
      `of the ${resting.length} around a control request that changes nothing: ${p99(resting)} ms (${asked.map(p99).join(", ")}); of all ${all.length} without switches: ${p99(all)} ms`,
  );
  for (const [name, base] of [
    ["those around a control request", resting],
    ["all without switches", all],
  ] as const) {
    const added = (share: number) => (percentile(switching, share) - percentile(base, share)).toFixed(2);
    print(`- added over ${name}, all rounds together: ${added(0.99)} ms at p99, ${added(0.5)} ms at p50`);
  }
} finally {
  generator.close();
  for (const client of [...switches, index]) client.close();
  await gateway.close();
  repository.remove();
}

function p99(values: readonly number[] = []): string {
  return percentile(values, 0.99).toFixed(2);
}
