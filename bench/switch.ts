/**
 * 1,000 switches between two engines under open-loop load: every request must be answered once, by its own id, and
 * those that are under way during a switch may take little longer than others: than those under way while a control
 * request that changes nothing is answered (its cost is no switch's), and than all under that load.
 */
import { startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { createHttpClient, type HttpClient, prepareRequest } from "./support/http-client.ts";
import { type LoadResult, nowMs } from "./support/load.ts";
import { places, print, quick, tell } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";
import { percentile } from "./support/statistics.ts";
import { nearMs, type Stolen, watchStolen } from "./support/stolen.ts";

const rounds = quick ? 2 : 5;
const switchesPerRound = quick ? 20 : 200;
const pauseMs = 25;
const ratePerSecond = 500;
/** A request that arrived this long before a switch may be under way in it. */
const leadMs = 3;
const seconds = Math.ceil((switchesPerRound * (pauseMs + 12)) / 1000) + 1;
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

/** Latencies of requests, and of those among them that the hypervisor left alone. */
class Sample {
  readonly all: number[] = [];
  readonly undisturbed: number[] = [];

  add(other: Sample): void {
    this.all.push(...other.all);
    this.undisturbed.push(...other.undisturbed);
  }
}

/** By arrival, not by overlap: the longer a request takes, the likelier it overlaps a switch. */
function arrivedIn(
  { dueMs, doneMs }: LoadResult,
  stolen: Stolen | undefined,
  windows?: readonly Window[],
): Sample {
  const sample = new Sample();
  for (const [at, due] of dueMs.entries()) {
    if (windows && !windows.some(({ began, ended }) => due >= began - leadMs && due <= ended)) continue;
    const latency = (doneMs[at] as number) - due;
    sample.all.push(latency);
    if (!stolen?.near(due)) sample.undisturbed.push(latency);
  }
  return sample;
}

/** One load, with requests of one kind beside it. */
async function run(seed: number, act: () => Promise<Window>) {
  const mode = { kind: "open", ratePerSecond, seconds, seed } as const;
  const watch = await watchStolen();
  const load = generator.run({ port: gateway.port, request, mode });
  const windows = await during(load, act);
  const stolen = await watch?.stop();
  return { ...(await load), windows, stolen };
}

try {
  // Both are loaded before anything is measured: the first switch starts the other engine.
  await switchOnce();
  await switchOnce();
  const all = new Sample();
  const asked: Sample[] = [];
  const atSwitch: Sample[] = [];
  const switchMs: number[] = [];
  const shares: number[] = [];
  const total = { sent: 0, answered: 0, failed: 0, duplicated: 0, foreign: 0 };
  const served: Record<string, number> = {};
  for (let round = -1; round < rounds; round += 1) {
    const quiet = await run(round + 1, askOnce);
    const busy = await run(round + 1, switchOnce);
    if (round < 0) continue;
    if (busy.result.failed > 0) tell(`${busy.result.failed} failed: ${busy.result.errors[0]}`);
    total.failed += busy.result.failed;
    for (const key of ["sent", "answered", "duplicated", "foreign"] as const) total[key] += busy.ids[key];
    for (const [engine, count] of Object.entries(busy.ids.engines))
      served[engine] = (served[engine] ?? 0) + count;
    switchMs.push(...busy.windows.map(({ began, ended }) => ended - began));
    all.add(arrivedIn(quiet.result, quiet.stolen));
    asked.push(arrivedIn(quiet.result, quiet.stolen, quiet.windows));
    atSwitch.push(arrivedIn(busy.result, busy.stolen, busy.windows));
    shares.push(quiet.stolen?.share ?? Number.NaN, busy.stolen?.share ?? Number.NaN);
    tell(
      `round ${round + 1}: p99 ${p99(asked.at(-1)?.undisturbed)} ms without, ${p99(atSwitch.at(-1)?.undisturbed)} ms at a switch`,
    );
  }
  const lost = total.sent - total.answered - total.failed;
  const engineCounts = Object.entries(served).map(([engine, count]) => `${engine} ${count}`);
  print(
    `\n${demo.name}, binary, open loop (Poisson), ${ratePerSecond}/s${places("; ")}; ${rounds} rounds of ${switchesPerRound} switches.\n`,
  );
  print(
    `- ${rounds * switchesPerRound} switches, ${total.sent} requests: ${total.failed} failed, ${lost} lost, ${total.duplicated} duplicated, ${total.foreign} answered with another's id; answered by ${engineCounts.join(", ")}`,
  );
  print(
    `- a switch, from its request to its reply (log line on disk): p50 ${percentile(switchMs, 0.5).toFixed(1)} ms, p99 ${percentile(switchMs, 0.99).toFixed(1)} ms`,
  );
  const stolenShare = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  if (Number.isNaN(stolenShare))
    print("- whether the hypervisor took cores away could not be watched here: nothing is kept apart");
  else
    print(
      `- the hypervisor had the cores for ${(100 * stolenShare).toFixed(1)} % of the time; "undisturbed" are those that did not arrive within ${nearMs} ms of such a moment`,
    );
  for (const kind of ["undisturbed", "all"] as const) {
    const of = (samples: readonly Sample[]) => samples.flatMap((sample) => sample[kind]);
    const [switching, resting] = [of(atSwitch), of(asked)];
    const perRound = (samples: readonly Sample[]) => samples.map((sample) => p99(sample[kind])).join(", ");
    print(
      `- ${kind}: p99 of the ${switching.length} requests that arrived from ${leadMs} ms before a switch until its end ${p99(switching)} ms (rounds: ${perRound(atSwitch)}); ` +
        `of the ${resting.length} around a control request that changes nothing ${p99(resting)} ms (${perRound(asked)}); of all ${all[kind].length} without switches ${p99(all[kind])} ms`,
    );
    for (const [name, base] of [
      ["those around a control request", resting],
      ["all without switches", all[kind]],
    ] as const) {
      const added = (share: number) => (percentile(switching, share) - percentile(base, share)).toFixed(2);
      print(`  - added over ${name}, all rounds together: ${added(0.99)} ms at p99, ${added(0.5)} ms at p50`);
    }
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
