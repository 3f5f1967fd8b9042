import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { BoardReading } from "./reading.ts";

/** Reads the CPU side from /proc and /sys; each call covers the time since the one before. */
export interface BoardReader {
  read(): BoardReading;
}

/**
 * Linux: cgroup v2 cpu.stat and PSI (Documentation/admin-guide/cgroup-v2.rst, Documentation/accounting/psi.rst).
 * Elsewhere everything is undefined and nothing starved.
 *
 * @param root "/" outside tests.
 */
export function createBoardReader({
  clock,
  root,
}: {
  readonly clock: Clock;
  readonly root: string;
}): BoardReader {
  const cores = list(root, "sys/devices/system/cpu/cpufreq").map(
    (policy) => `sys/devices/system/cpu/cpufreq/${policy}`,
  );
  const zones = list(root, "sys/class/thermal").filter((name) => name.startsWith("thermal_zone"));
  // "0::/path" is this process's cgroup in the unified hierarchy; inside a container it is "/".
  const group = /^0::\/(.*)$/m.exec(text(root, "proc/self/cgroup"))?.[1] ?? "";
  let before = counters(root, group, clock.seconds());
  return {
    read() {
      const now = counters(root, group, clock.seconds());
      const micros = (now.seconds - before.seconds) * 1e6;
      const share = (a: number | undefined, b: number | undefined): number | undefined =>
        a === undefined || b === undefined || micros <= 0
          ? undefined
          : Math.min(1, Math.max(0, (b - a) / micros));
      const cpuPressureRatio = share(before.pressure, now.pressure);
      const cpuThrottledRatio = share(before.throttled, now.throttled);
      before = now;
      return {
        cpuPressureRatio,
        cpuThrottledRatio,
        cpuFrequencyRatio: frequencyRatio(root, cores),
        temperatureCelsius: hottest(root, zones),
        starved: (cpuThrottledRatio ?? 0) > 0.05,
      };
    },
  };
}

/** Microsecond counters of the kernel. */
function counters(
  root: string,
  group: string,
  seconds: number,
): { seconds: number; pressure: number | undefined; throttled: number | undefined } {
  const pressure = /^some .*total=(\d+)/m.exec(text(root, "proc/pressure/cpu"));
  const throttled = /^throttled_usec (\d+)/m.exec(text(root, join("sys/fs/cgroup", group, "cpu.stat")));
  return {
    seconds,
    pressure: pressure === null ? undefined : Number(pressure[1]),
    throttled: throttled === null ? undefined : Number(throttled[1]),
  };
}

function frequencyRatio(root: string, cores: readonly string[]): number | undefined {
  let current = 0;
  let maximum = 0;
  for (const core of cores) {
    current += Number(text(root, `${core}/scaling_cur_freq`));
    maximum += Number(text(root, `${core}/cpuinfo_max_freq`));
  }
  return maximum > 0 ? current / maximum : undefined;
}

function hottest(root: string, zones: readonly string[]): number | undefined {
  const degrees = zones
    .map((zone) => text(root, `sys/class/thermal/${zone}/temp`))
    // A sensor that is powered off reads -256 degrees on a Jetson, or nothing.
    .filter((value) => value !== "" && Number(value) > -200_000)
    .map((value) => Number(value) / 1000);
  return degrees.length === 0 ? undefined : Math.max(...degrees);
}

function text(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), "utf8").trim();
  } catch {
    return "";
  }
}

function list(root: string, path: string): string[] {
  try {
    return readdirSync(join(root, path));
  } catch {
    return [];
  }
}
