import { readFileSync } from "node:fs";
import type { Clock } from "../core/clock.ts";

/** Share of this machine's cores that was busy over about the last second, 0 to 1. */
export interface CpuLoad {
  readonly utilization: number;
  close(): void;
}

const samplePeriodMs = 250;
const windowSeconds = 1;

/** Sampled from /proc/stat; without it (not Linux) the load counts as 0. */
export function watchCpuLoad({ clock }: { readonly clock: Clock }): CpuLoad {
  const samples: { seconds: number; busy: number; total: number }[] = [];
  let utilization = 0;

  function sample(): void {
    const times = cpuTimes();
    if (!times) return;
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

/** The first line of /proc/stat, in ticks: user nice system idle iowait irq softirq steal (proc(5)). */
function cpuTimes(): { busy: number; total: number } | undefined {
  let line: string | undefined;
  try {
    [line] = readFileSync("/proc/stat", "latin1").split("\n", 1);
  } catch {
    return undefined;
  }
  const ticks = (line ?? "").trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return { busy: total - idle, total };
}
