import { readFileSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { allowedCores, coreList } from "../core/cores.ts";

/**
 * Share of the cores that this process may run on that was busy over about the last second, 0 to 1: a gateway that is
 * pinned to some cores, or in a container with a cpuset, neither waits for the others nor is told by them that it is idle.
 */
export interface CpuLoad {
  readonly utilization: number;
  close(): void;
}

const samplePeriodMs = 250;
const windowSeconds = 1;

/** Sampled from /proc/stat; without it (not Linux) the load counts as 0. */
export function watchCpuLoad({ clock }: { readonly clock: Clock }): CpuLoad {
  const samples: ({ seconds: number } & CpuTimes)[] = [];
  let utilization = 0;

  function sample(): void {
    const times = readTimes();
    if (!times) return;
    // Times of other cores than before are no continuation.
    if (samples.at(-1)?.cores !== times.cores) samples.length = 0;
    const seconds = clock.seconds();
    samples.push({ seconds, ...times });
    while (samples.length > 2 && seconds - (samples[1]?.seconds ?? seconds) >= windowSeconds) samples.shift();
    const [first] = samples;
    if (first && times.total > first.total)
      utilization = (times.busy - first.busy) / (times.total - first.total);
  }

  sample();
  const timer = setInterval(sample, samplePeriodMs);
  timer.unref();
  return {
    get utilization() {
      return utilization;
    },
    close: () => clearInterval(timer),
  };
}

interface CpuTimes {
  /** In ticks, of all counted cores together. */
  readonly busy: number;
  readonly total: number;
  /** Which they are. */
  readonly cores: string;
}

function readTimes(): CpuTimes | undefined {
  try {
    return cpuTimes(readFileSync("/proc/stat", "latin1"), allowedCores());
  } catch {
    return undefined;
  }
}

/**
 * From /proc/stat, whose lines are user nice system idle iowait irq softirq steal (proc(5)), those of these cores; all of
 * them where no line is of such a core (lxcfs numbers them anew).
 */
export function cpuTimes(stat: string, cores: readonly number[]): CpuTimes {
  const allowed = new Set(cores);
  let [busy, total] = [0, 0];
  let [busyOfAll, totalOfAll] = [0, 0];
  for (const line of stat.split("\n")) {
    const found = /^cpu(\d*)\s+(.*)/.exec(line);
    if (!found) continue;
    const ticks = (found[2] ?? "").trim().split(/\s+/).slice(0, 8).map(Number);
    const sum = ticks.reduce((before, value) => before + value, 0);
    const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
    if (found[1] === "") [busyOfAll, totalOfAll] = [sum - idle, sum];
    else if (allowed.has(Number(found[1]))) {
      busy += sum - idle;
      total += sum;
    }
  }
  return total > 0
    ? { busy, total, cores: coreList(cores) }
    : { busy: busyOfAll, total: totalOfAll, cores: "all" };
}
