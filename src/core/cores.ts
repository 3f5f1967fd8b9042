import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import koffi from "koffi";

/**
 * How the processor's cores are shared out: shadow work keeps to one half of them, the thread that serves to the other.
 * Even work that is pushed aside at once leaves a core with cold caches behind (docs/decisions.md has the figures).
 */
export interface CoreSplit {
  readonly all: readonly number[];
  readonly serving: readonly number[];
  readonly shadow: readonly number[];
}

/** @returns undefined where there is only one */
export function splitCores(all: readonly number[]): CoreSplit | undefined {
  if (all.length < 2) return undefined;
  const middle = Math.ceil(all.length / 2);
  return { all, serving: all.slice(0, middle), shadow: all.slice(middle) };
}

/** Whether so many threads have a core each in the shadow's half; with more, an engine there would be slower than it is. */
export function fitShadow(threads: number, { shadow }: CoreSplit): boolean {
  return threads <= shadow.length;
}

let known: { readonly split: CoreSplit | undefined } | undefined;

/** Of the cores that this process may use. Undefined too where hosts could not be given other cores than their parent's. */
export function coreSplit(): CoreSplit | undefined {
  known ??= { split: findSplit() };
  return known.split;
}

function findSplit(): CoreSplit | undefined {
  const split = process.platform === "linux" ? splitCores(allowedCores()) : undefined;
  if (!split || spawnSync("taskset", ["--cpu-list", coreList(split.all), "true"]).status !== 0)
    return undefined;
  return split;
}

/** As `taskset --cpu-list` takes them. */
export function coreList(cores: readonly number[]): string {
  return cores.join(",");
}

/** Lets a thread, by default the calling one, run on these alone. Where the system refuses, nothing changes. */
export function keepThreadTo(cores: readonly number[], thread = 0): void {
  const mask = Buffer.alloc(8 * Math.ceil((Math.max(...cores) + 1) / 64));
  for (const core of cores) mask.writeUInt8(mask.readUInt8(core >> 3) | (1 << (core & 7)), core >> 3);
  try {
    const setAffinity = koffi
      .load(null)
      .func("int sched_setaffinity(int pid, size_t size, const void *mask)");
    setAffinity(thread, mask.length, mask);
  } catch {
    // A C library without it.
  }
}

/** The same for every thread of a process, and those that they will start. */
export function keepProcessTo(cores: readonly number[], pid: number): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) keepThreadTo(cores, Number(thread));
  } catch {
    // It has ended.
  }
}

/** Those that a thread may use, a process's first one by its number. @throws Error when it has ended */
export function coresOf(thread: number | "self"): number[] {
  const status = readFileSync(`/proc/${thread}/status`, "latin1");
  return coresIn(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? "");
}

/** Those that this process may use, of all its threads together: some may be kept to a part of them already. Linux only. */
export function allowedCores(): number[] {
  const cores = new Set<number>();
  for (const thread of readdirSync("/proc/self/task")) {
    try {
      for (const core of coresOf(Number(thread))) cores.add(core);
    } catch {
      // It has ended.
    }
  }
  return [...cores].sort((a, b) => a - b);
}

/** How many this process may use; node's availableParallelism counts those of the calling thread. */
export function coreCount(): number {
  return process.platform === "linux" ? allowedCores().length : availableParallelism();
}

/** The kernel's list format: `0-3,8`. */
export function coresIn(list: string): number[] {
  return list.split(",").flatMap((range) => {
    if (range === "") return [];
    const [first = Number.NaN, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}
