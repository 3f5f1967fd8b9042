import { readFileSync } from "node:fs";

/** Ticks since the machine started, of the cores given (all without): in use, taken by the hypervisor, all together (proc(5)). */
export interface CpuTime {
  readonly busy: number;
  readonly stolen: number;
  readonly total: number;
}

export function cpuTime(cores?: readonly number[]): CpuTime {
  const names = cores?.map((core) => `cpu${core}`) ?? ["cpu"];
  const sum = { busy: 0, stolen: 0, total: 0 };
  for (const line of readFileSync("/proc/stat", "latin1").split("\n")) {
    const [name = "", ...fields] = line.split(/\s+/);
    if (!names.includes(name)) continue;
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0] =
      fields.map(Number);
    sum.busy += user + nice + system + irq + soft;
    sum.stolen += steal;
    sum.total += user + nice + system + idle + wait + irq + soft + steal;
  }
  return sum;
}

/** Shares of the time since `before`. */
export function cpuShares(before: CpuTime, cores?: readonly number[]): { busy: number; stolen: number } {
  const now = cpuTime(cores);
  const total = now.total - before.total;
  return { busy: (now.busy - before.busy) / total, stolen: (now.stolen - before.stolen) / total };
}

/** Ticks for which each core has been the hypervisor's, by their numbers (proc(5)). */
export function stolenTicks(): ReadonlyMap<number, number> {
  const lines = readFileSync("/proc/stat", "latin1").matchAll(/^cpu(\d+)(?: \d+){7} (\d+)/gm);
  return new Map([...lines].map(([, core, ticks]) => [Number(core), Number(ticks)]));
}

/** Processor time of a process's first thread, in seconds: the one that serves. */
export function firstThreadSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "latin1").split(" ")[0]) / 1e9;
}
