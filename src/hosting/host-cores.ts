import { type CoreSplit, fitShadow, keepProcessTo } from "../core/cores.ts";

/**
 * Keeps serving hosts off the core of the thread that serves, for machines where that has a single one: of two. On a
 * machine as busy as those two are with shadow work, Linux, as its source reads, no longer looks for a better core for a
 * thread that wakes (SIS_UTIL, whose measure counts the idle class as well), so that a host once moved there waits behind
 * the thread that serves again and again (docs/results/bench.md, "shadow on two cores").
 */
export class HostCores {
  #split: CoreSplit;
  /** Threads of the hosts that serve, by process. */
  #threads = new Map<number, number>();
  #kept = true;

  constructor(split: CoreSplit) {
    this.#split = split;
  }

  /** A host serves from now on. While it loads it may use all cores: another may be serving on this one. */
  add(pid: number, threads: number): void {
    this.#threads.set(pid, threads);
    if (!this.#settle()) this.#keep(pid);
  }

  delete(pid: number): void {
    if (this.#threads.delete(pid)) this.#settle();
  }

  /** More than fit there have all cores. @returns whether that has changed, and every host its cores with it */
  #settle(): boolean {
    let threads = 0;
    for (const of of this.#threads.values()) threads += of;
    const kept = fitShadow(threads, this.#split);
    if (kept === this.#kept) return false;
    this.#kept = kept;
    for (const pid of this.#threads.keys()) this.#keep(pid);
    return true;
  }

  #keep(pid: number): void {
    const { all, shadow } = this.#split;
    keepProcessTo(this.#kept ? shadow : all, pid);
  }
}
