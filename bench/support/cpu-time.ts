import { readFileSync } from "node:fs";

/** Ticks since the machine started: in use, taken by the hypervisor, all together (proc(5)). */
export interface CpuTime {
  readonly busy: number;
  readonly stolen: number;
  readonly total: number;
}

/** Of each core, by its number. */
export function cpuTimes(): ReadonlyMap<number, CpuTime> {
  const lines = readFileSync("/proc/stat", "latin1").matchAll(/^cpu(\d+) (.*)/gm);
  return new Map(
    [...lines].map(([, core, text = ""]) => {
      const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, stolen = 0] = text
        .split(" ")
        .map(Number);
      const busy = user + nice + system + irq + soft;
      return [Number(core), { busy, stolen, total: busy + idle + wait + stolen }];
    }),
  );
}

/** Of the cores given together; all without. */
export function cpuTime(cores?: readonly number[]): CpuTime {
  const sum = { busy: 0, stolen: 0, total: 0 };
  for (const [core, { busy, stolen, total }] of cpuTimes()) {
    if (cores && !cores.includes(core)) continue;
    sum.busy += busy;
    sum.stolen += stolen;
    sum.total += total;
  }
  return sum;
}

/** Shares of the time since `before`. */
export function cpuShares(before: CpuTime, cores?: readonly number[]): { busy: number; stolen: number } {
  const now = cpuTime(cores);
  const total = now.total - before.total;
  return { busy: (now.busy - before.busy) / total, stolen: (now.stolen - before.stolen) / total };
}

/** Processor time of a process's first thread, in seconds: the one that serves. */
export function firstThreadSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "latin1").split(" ")[0]) / 1e9;
}
