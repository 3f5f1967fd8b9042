import { readdirSync, readFileSync } from "node:fs";
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

/** How many threads of this process are of the idle class, SCHED_IDLE. */
export function idleThreads(): number {
  const policies = readdirSync("/proc/self/task").map((thread) => {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
    // Field 41 (proc(5)); the second, the name, may hold spaces.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[38]);
  });
  return policies.filter((policy) => policy === 5).length;
}
