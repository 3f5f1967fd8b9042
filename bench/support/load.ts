import { Worker } from "node:worker_threads";
import { createRandom } from "../../src/compare/statistics/random.ts";

/** How requests are made: so many clients that each wait for their reply, or arrivals whatever the server does. */
export type LoadMode =
  | { readonly kind: "closed"; readonly concurrency: number; readonly seconds: number }
  | { readonly kind: "closed"; readonly concurrency: number; readonly requests: number }
  | {
      readonly kind: "open";
      readonly ratePerSecond: number;
      readonly seconds: number;
      readonly seed: number;
    };

export interface LoadResult {
  /** Of requests that were answered well: when they were due, when they were sent and when the reply was there, by `nowMs`. */
  readonly dueMs: Float64Array;
  readonly sentMs: Float64Array;
  readonly doneMs: Float64Array;
  readonly failed: number;
  /** When those that failed were due. */
  readonly failedMs: Float64Array;
  readonly errors: readonly string[];
  readonly seconds: number;
}

/** Milliseconds of the machine's monotonic clock: the same in every process and thread. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function latenciesMs({ dueMs, doneMs }: LoadResult): Float64Array {
  return doneMs.map((done, at) => done - (dueMs[at] ?? Number.NaN));
}

/** @param send one request; rejects when it was not answered as it should be. */
export async function runLoad(send: () => Promise<unknown>, mode: LoadMode): Promise<LoadResult> {
  const due: number[] = [];
  const sent: number[] = [];
  const done: number[] = [];
  const errors: string[] = [];
  const began = nowMs();
  const failed: number[] = [];
  const one = (dueAt: number): Promise<void> => {
    const sentAt = nowMs();
    return send().then(
      () => {
        due.push(dueAt);
        sent.push(sentAt);
        done.push(nowMs());
      },
      (error: unknown) => {
        failed.push(dueAt);
        if (errors.length < 5) errors.push(error instanceof Error ? error.message : String(error));
      },
    );
  };
  if (mode.kind === "closed") {
    const end = "seconds" in mode ? began + mode.seconds * 1000 : Infinity;
    let left = "requests" in mode ? mode.requests : Infinity;
    await Promise.all(
      Array.from({ length: mode.concurrency }, async () => {
        while (left-- > 0 && nowMs() < end) await one(nowMs());
      }),
    );
  } else {
    let pending = 0;
    let empty = (): void => {};
    await paced(poisson(mode), (dueAt) => {
      pending += 1;
      void one(dueAt).then(() => {
        pending -= 1;
        if (pending === 0) empty();
      });
    });
    if (pending > 0) await new Promise<void>((resolve) => (empty = resolve));
  }
  const seconds = (nowMs() - began) / 1000;
  const times = {
    dueMs: Float64Array.from(due),
    sentMs: Float64Array.from(sent),
    doneMs: Float64Array.from(done),
  };
  return { ...times, failed: failed.length, failedMs: Float64Array.from(failed), errors, seconds };
}

/** Milliseconds from the start; the same for the same seed, so that runs that are compared meet the same arrivals. */
function poisson(mode: { ratePerSecond: number; seconds: number; seed: number }): Float64Array {
  const random = createRandom(mode.seed);
  const arrivals: number[] = [];
  for (let at = 0; at < mode.seconds * 1000;) {
    arrivals.push(at);
    at -= (Math.log(1 - random.next()) * 1000) / mode.ratePerSecond;
  }
  return Float64Array.from(arrivals);
}

/**
 * Calls `arrive` when each arrival is due. Node's timers are whole milliseconds, too coarse for requests of 0.4 ms: a
 * thread sleeps in Atomics.wait, which is exact to some 60 us, and wakes this one.
 */
function paced(arrivals: Float64Array, arrive: (dueMs: number) => void): Promise<void> {
  const start = nowMs() + 50;
  const worker = new Worker(pacer, { eval: true, execArgv: [], workerData: { arrivals, start } });
  let next = 0;
  return new Promise((resolve, reject) => {
    worker.on("error", reject);
    worker.on("message", () => {
      for (const now = nowMs(); next < arrivals.length; next += 1) {
        const dueMs = start + (arrivals[next] as number);
        if (dueMs > now) break;
        arrive(dueMs);
      }
      if (next === arrivals.length) resolve();
    });
  });
}

const pacer = `
const { parentPort, workerData: { arrivals, start } } = require("node:worker_threads");
const cell = new Int32Array(new SharedArrayBuffer(4));
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
for (const arrival of arrivals) {
  for (let left = start + arrival - nowMs(); left > 0; left = start + arrival - nowMs()) Atomics.wait(cell, 0, 0, left);
  parentPort.postMessage(0);
}
`;
