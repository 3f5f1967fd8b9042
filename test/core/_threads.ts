import type { Worker } from "node:worker_threads";
import { beforeEach } from "vitest";

type Threads = typeof import("node:worker_threads");

/** Every thread that the test has started, in order. */
export const threads: Worker[] = [];
beforeEach(() => void (threads.length = 0));

/** `node:worker_threads` with every thread noted, for `vi.mock`, which lets a factory import nothing but in its own body. */
export async function notingThreads(original: () => Promise<unknown>): Promise<Threads> {
  const real = (await original()) as Threads;
  class Noted extends real.Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      threads.push(this);
    }
  }
  return { ...real, Worker: Noted };
}
