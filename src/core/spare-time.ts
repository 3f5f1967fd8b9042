import type { LiveLoadCounter } from "./live-load.ts";

/** Moments in which the thread that serves has nothing to serve: for those parts of its work that nobody waits for. */
export interface SpareTime {
  /**
   * Resolves when no live request is being answered, one caller a turn of the event loop: a request that comes meanwhile
   * waits for one piece of work at most. Where no such moment comes, after a while all the same.
   */
  wait(): Promise<void>;
}

/** On a gateway that is never idle little is put off: shadow runs wait for the same moments. */
const mostMs = 25;

export function createSpareTime(load: LiveLoadCounter): SpareTime {
  const waiting: { readonly resolve: () => void; readonly sinceMs: number }[] = [];
  let scheduled = false;
  /** Only where there was no idle moment at once, and one for all who wait: each one that fires wakes this thread. */
  let timer: NodeJS.Timeout | undefined;

  function isTime(): boolean {
    const [longest] = waiting;
    return longest !== undefined && (load.inFlight === 0 || performance.now() - longest.sinceMs >= mostMs);
  }

  function schedule(): void {
    if (scheduled || waiting.length === 0) return;
    if (!isTime()) {
      timer ??= setTimeout(() => {
        timer = undefined;
        schedule();
      }, mostMs);
      return;
    }
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      if (isTime()) waiting.shift()?.resolve();
      schedule();
    });
  }

  load.onAnswered = schedule;
  return {
    wait: () =>
      new Promise((resolve) => {
        waiting.push({ resolve, sinceMs: performance.now() });
        schedule();
      }),
  };
}
