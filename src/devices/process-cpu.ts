import { readFileSync } from "node:fs";

/** USER_HZ: what Linux counts in for programs, on every architecture but two that are gone (proc(5)). */
const ticksPerSecond = 100;

/** Processor time that a process and its threads have used, in user and kernel mode; undefined without /proc. */
export function processCpuSeconds(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in brackets, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [user, kernel] = [Number(fields[11]), Number(fields[12])];
    return Number.isFinite(user + kernel) ? (user + kernel) / ticksPerSecond : undefined;
  } catch {
    return undefined;
  }
}
