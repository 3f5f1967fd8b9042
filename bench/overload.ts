/**
 * What is left for those who are answered when more clients than the model's queue holds (64 running and 256 waiting) ask
 * again as soon as they were turned away; and how long it takes until all are answered again after a pause in which more
 * have come than the queue holds, where requests go on coming at a rate that the gateway could answer.
 */
import { firstThreadSeconds } from "./support/cpu-time.ts";
import { startGateway } from "./support/gateway.ts";
import { startGenerator } from "./support/generator.ts";
import { latenciesMs } from "./support/load.ts";
import { print, quick, tableHead, tableRow } from "./support/options.ts";
import { binaryRequest, demo, makeRepository } from "./support/repository.ts";

const seconds = quick ? 1 : 5;
/** Of what four clients get. */
const shares = [0.4, 0.6, 0.8];
const pauseMs = 600;
const pauseAtMs = 1000;
const pausedSeconds = quick ? 3 : 8;
/** A request that took longer than this was held up. */
const longMs = 50;
const clients = [4, 64, 300, 400, 800, 1600, 4];
const request = binaryRequest(demo);
const repository = await makeRepository([demo], { engines: 1, settings: ["shadow: { sampleRate: 0 }"] });
const generator = startGenerator();
const gateway = await startGateway(repository.path);
const run = (concurrency: number) =>
  generator.run({ port: gateway.port, request, mode: { kind: "closed", concurrency, seconds } });
try {
  // Warms it up.
  await run(4);
  let perSecond = 0;
  print(`\n${demo.name}, binary, closed loop, ${seconds} s each.\n`);
  print(tableHead(["clients", "answered/s", "turned away/s", "serving thread, us a request"]));
  for (const concurrency of clients) {
    const before = firstThreadSeconds(gateway.pid);
    const { result, ids } = await run(concurrency);
    const other = result.errors.find((error) => !error.startsWith("429"));
    if (other !== undefined || ids.answered + result.failed !== ids.sent)
      throw new Error(other ?? `${ids.sent} sent, ${ids.answered} answered, ${result.failed} turned away`);
    const answered = result.doneMs.length;
    perSecond = answered / result.seconds;
    const spent = firstThreadSeconds(gateway.pid) - before;
    print(
      tableRow([
        ...[concurrency, (answered / result.seconds).toFixed(0), (result.failed / result.seconds).toFixed(0)],
        ((1e6 * spent) / (answered + result.failed)).toFixed(0),
      ]),
    );
  }
  print(
    `\nOpen loop (Poisson), ${pausedSeconds} s each; the gateway is stopped for ${pauseMs} ms after ${pauseAtMs / 1000} s. Held up: answered, after more than ${longMs} ms.\n`,
  );
  print(tableHead(["requests/s", "turned away", "held up", "the last of both came after the pause, s"]));
  for (const share of shares) {
    const ratePerSecond = Math.round(share * perSecond);
    print(tableRow([ratePerSecond, ...(await pausedAt(ratePerSecond))]));
  }
} finally {
  generator.close();
  await gateway.close();
  repository.remove();
}

async function pausedAt(ratePerSecond: number): Promise<(number | string)[]> {
  const mode = { kind: "open", ratePerSecond, seconds: pausedSeconds, seed: 7 } as const;
  const stop = setTimeout(() => process.kill(gateway.pid, "SIGSTOP"), pauseAtMs);
  const go = setTimeout(() => process.kill(gateway.pid, "SIGCONT"), pauseAtMs + pauseMs);
  try {
    const { result } = await generator.run({ port: gateway.port, request, mode });
    const began = Math.min(...result.dueMs);
    const latencies = latenciesMs(result);
    const heldUp = result.dueMs.filter((_, at) => (latencies[at] ?? 0) > longMs);
    const last = Math.max(began, ...heldUp, ...result.failedMs);
    const seconds = Math.max(0, (last - began - pauseAtMs - pauseMs) / 1000);
    return [result.failed, heldUp.length, seconds.toFixed(1)];
  } finally {
    clearTimeout(stop);
    clearTimeout(go);
    process.kill(gateway.pid, "SIGCONT");
  }
}
