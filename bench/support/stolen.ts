import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { root } from "./gateway.ts";
import { cpuTimes } from "./cpu-time.ts";
import { nowMs } from "./load.ts";
import { serverCores } from "./options.ts";

/** What a watch on the cores has found. */
export interface Stolen {
  /** Share of the watched cores' time, 0 to 1. */
  readonly share: number;
  /** Whether a core was elsewhere within `nearMs` of this time (`nowMs`): what is under way then says nothing about the program. */
  near(ms: number): boolean;
}

/**
 * Watches for moments when the hypervisor has taken a core of the servers (of the machine, where they have none of their
 * own) for another guest. The load that a machine shares with others lands in the latencies at random; what arrives near
 * such a moment can be kept apart, whatever its own latency is.
 */
export interface StolenWatch {
  stop(): Promise<Stolen>;
}

/** What queued up before a core came back is worked off by then. */
export const nearMs = 10;

/**
 * By a program on each core, which takes a C compiler and the right to real-time priority; elsewhere by the kernel's count
 * (proc(5)), which tells of 10 ms at a time. Undefined where there is neither.
 */
export async function watchStolen(): Promise<StolenWatch | undefined> {
  const cores = serverCores ?? Array.from({ length: availableParallelism() }, (_, core) => core);
  return (await watchCores(cores)) ?? watchCount(cores);
}

async function watchCores(cores: readonly number[]): Promise<StolenWatch | undefined> {
  const path = compiled();
  if (path === undefined) return undefined;
  const watchers = cores.map((core) => watchCore(path, core));
  const ready = await Promise.all(watchers.map((watcher) => watcher.ready));
  if (!ready.every(Boolean)) {
    for (const watcher of watchers) await watcher.stop();
    return undefined;
  }
  const beganMs = nowMs();
  return {
    async stop() {
      const watchedMs = (nowMs() - beganMs) * cores.length;
      const found = (await Promise.all(watchers.map((watcher) => watcher.stop()))).flat();
      const stolenMs = found.reduce((sum, { from, until }) => sum + until - from, 0);
      return { share: stolenMs / watchedMs, near: nearOneOf(merged(found)) };
    },
  };
}

/** Milliseconds of `nowMs`. */
interface Time {
  readonly from: number;
  readonly until: number;
}

/** Of a tick of proc(5). */
const tickMs = 10;
const countPeriodMs = 5;

/** The count of a core goes up by what it was elsewhere for, once it is back. */
function watchCount(cores: readonly number[]): StolenWatch | undefined {
  const read = () => ({ ms: nowMs(), times: cpuTimes() });
  let last: ReturnType<typeof read>;
  try {
    last = read();
  } catch {
    return undefined;
  }
  const beganMs = last.ms;
  const found: Time[] = [];
  let stolenMs = 0;
  function look(): void {
    const now = read();
    for (const core of cores) {
      const elsewhereMs = tickMs * ((now.times.get(core)?.stolen ?? 0) - (last.times.get(core)?.stolen ?? 0));
      stolenMs += elsewhereMs;
      if (elsewhereMs > 0) found.push({ from: last.ms - elsewhereMs, until: now.ms });
    }
    last = now;
  }
  const timer = setInterval(look, countPeriodMs);
  return {
    stop() {
      clearInterval(timer);
      look();
      const share = stolenMs / ((last.ms - beganMs) * cores.length);
      return Promise.resolve({ share, near: nearOneOf(merged(found)) });
    },
  };
}

function watchCore(path: string, core: number): { ready: Promise<boolean>; stop(): Promise<Time[]> } {
  const child = spawn(path, [String(core)], { stdio: ["pipe", "pipe", "ignore"] });
  const closed = once(child, "close");
  let text = "";
  const ready = new Promise<boolean>((resolve) => {
    void closed.then(() => resolve(false));
    child.stdout.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      resolve(true);
    });
  });
  return {
    ready,
    async stop() {
      child.stdin.end();
      await closed;
      return [...text.matchAll(/^(\d+) (\d+)$/gm)].map(([, from, until]) => ({
        from: Number(from) / 1e6,
        until: Number(until) / 1e6,
      }));
    },
  };
}

let program: string | undefined;

function compiled(): string | undefined {
  if (program !== undefined) return program;
  const folder = join(root, "bench/out");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "stolen");
  try {
    execFileSync("cc", ["-O2", "-o", path, join(import.meta.dirname, "stolen.c")]);
  } catch {
    return undefined;
  }
  program = path;
  return program;
}

function nearOneOf(times: readonly Time[]): Stolen["near"] {
  return (ms) => (times[lastBefore(times, ms + nearMs)]?.until ?? -Infinity) >= ms - nearMs;
}

/** In order, those that overlap as one. */
function merged(times: readonly Time[]): Time[] {
  const result: Time[] = [];
  for (const time of times.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    if (last && time.from <= last.until)
      result[result.length - 1] = { from: last.from, until: Math.max(last.until, time.until) };
    else result.push(time);
  }
  return result;
}

/** Index of the last that began by then; -1 when none did. */
function lastBefore(times: readonly Time[], ms: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] as Time).from <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
