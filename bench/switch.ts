/**
 * 1,000 switches between two engines under open-loop load: every request must be answered once, by its own id, and
 * those that are under way during a switch may take little longer than under the same load without switches.
 */
import { type Server, startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { latenciesMs, nowMs } from "./support/load.ts";
import { print, quick, tell } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";
import { median, percentile } from "./support/statistics.ts";

const rounds = quick ? 2 : 5;
const switchesPerRound = quick ? 20 : 200;
const pauseMs = 25;
const ratePerSecond = 200;
/** A request that arrived this long before a switch may be under way in it. */
const leadMs = 3;
const engines = ["onnxruntime-1", "onnxruntime-2"];

const repository = await makeRepository([demo], { engines: 2, settings: ["shadow: { sampleRate: 0 }"] });
const gateway = await startGateway(repository.path);
const generator = startGenerator();
const request = binaryRequest(demo);
let switched = 0;

async function switchOnce(server: Server): Promise<{ began: number; ended: number }> {
  switched += 1;
  const engine = engines[switched % 2] as string;
  const began = nowMs();
  const reply = await fetch(`http://127.0.0.1:${server.port}/v1/models/${demo.name}/switch`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ engine, reason: "bench" }),
  });
  const answer = await reply.text();
  if (reply.status !== 200) throw new Error(`switch to ${engine}: ${reply.status} ${answer}`);
  return { began, ended: nowMs() };
}

try {
  // Both are loaded before anything is measured: the first switch starts the other engine.
  await switchOnce(gateway);
  await switchOnce(gateway);
  const plain: number[] = [];
  const atSwitch: number[] = [];
  const added: number[] = [];
  const switchMs: number[] = [];
  const total = { sent: 0, answered: 0, failed: 0, duplicated: 0, foreign: 0 };
  const served: Record<string, number> = {};
  const seconds = Math.ceil((switchesPerRound * (pauseMs + 12)) / 1000) + 1;
  for (let round = -1; round < rounds; round += 1) {
    const job = (seed: number) => ({
      port: gateway.port,
      request,
      mode: { kind: "open", ratePerSecond, seconds, seed } as const,
    });
    const quiet = latenciesMs((await generator.run(job(round + 1))).result);
    const busy = generator.run(job(round + 1));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const windows: { began: number; ended: number }[] = [];
    for (let n = 0; n < switchesPerRound; n += 1) {
      windows.push(await switchOnce(gateway));
      await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + Math.random())));
    }
    const { result, ids } = await busy;
    if (round < 0) continue;
    total.failed += result.failed;
    for (const key of ["sent", "answered", "duplicated", "foreign"] as const) total[key] += ids[key];
    for (const [engine, count] of Object.entries(ids.engines)) served[engine] = (served[engine] ?? 0) + count;
    const during: number[] = [];
    for (const [at, due] of result.dueMs.entries()) {
      const done = result.doneMs[at] as number;
      // By arrival, not by overlap: the longer a request takes, the likelier it overlaps a switch.
      if (windows.some(({ began, ended }) => due >= began - leadMs && due <= ended)) during.push(done - due);
    }
    switchMs.push(...windows.map(({ began, ended }) => ended - began));
    plain.push(percentile(quiet, 0.99));
    atSwitch.push(percentile(during, 0.99));
    added.push(percentile(during, 0.99) - percentile(quiet, 0.99));
    tell(
      `round ${round + 1}: p99 ${plain.at(-1)} without, ${atSwitch.at(-1)} at a switch (${during.length} requests)`,
    );
  }
  const lost = total.sent - total.answered - total.failed;
  const shares = Object.entries(served).map(([engine, count]) => `${engine} ${count}`);
  const list = (values: readonly number[]): string => values.map((value) => value.toFixed(2)).join(", ");
  print(
    `\n${demo.name}, binary, open loop (Poisson), ${ratePerSecond}/s; ${rounds} rounds of ${switchesPerRound} switches.\n`,
  );
  print(
    `- ${rounds * switchesPerRound} switches, ${total.sent} requests: ${total.failed} failed, ${lost} lost, ${total.duplicated} duplicated, ${total.foreign} answered with another's id; answered by ${shares.join(", ")}`,
  );
  print(
    `- a switch, from its request to its reply (log line on disk): p50 ${percentile(switchMs, 0.5).toFixed(1)} ms, p99 ${percentile(switchMs, 0.99).toFixed(1)} ms`,
  );
  print(
    `- p99 of requests that arrived from ${leadMs} ms before a switch until its end: ${list(atSwitch)} ms; of all requests under the same load without: ${list(plain)} ms`,
  );
  print(`- added at p99, median of the rounds: ${median(added).toFixed(2)} ms (${list(added)})`);
} finally {
  generator.close();
  await gateway.close();
  repository.remove();
}
