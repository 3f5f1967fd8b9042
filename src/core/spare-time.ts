import type { LiveLoadCounter } from "./live-load.ts";

/** Moments in which the thread that serves has nothing to serve: for those parts of its work that nobody waits for. */
export interface SpareTime {
  /**
   * Resolves when no live request is being answered, one caller a turn of the event loop: a request that comes meanwhile
   * waits for one piece of work at most. Where no such moment comes, after 25 ms all the same, with false.
   * @param ready there is something to do; asked for when it is waited for and whenever no request is left
   */
  wait(ready?: () => boolean): Promise<boolean>;
}

/** On a gateway that is never idle little is put off: shadow runs wait for the same moments. */
const mostMs = 25;

interface Waiter {
  readonly resolve: (isIdle: boolean) => void;
  readonly ready: () => boolean;
  /** Since when it has been ready. */
  readyMs: number | undefined;
}

export function createSpareTime(load: LiveLoadCounter): SpareTime {
  const waiting: Waiter[] = [];
  let scheduled = false;
  /** Only where there was no idle moment at once, and one for all who wait: each one that fires wakes this thread. */
  let timer: NodeJS.Timeout | undefined;

  /** A loop, for it is gone through after most requests. */
  function nextReady(): Waiter | undefined {
    for (const waiter of waiting) if (isReady(waiter)) return waiter;
    return undefined;
  }

  function isDue({ readyMs = Infinity }: Waiter): boolean {
    return load.inFlight === 0 || performance.now() - readyMs >= mostMs;
  }

  function schedule(): void {
    if (scheduled) return;
    const next = nextReady();
    if (!next) return;
    if (isDue(next)) {
      scheduled = true;
      setImmediate(step);
    } else {
      timer ??= setTimeout(() => {
        timer = undefined;
        schedule();
      }, mostMs);
    }
  }

  function step(): void {
    scheduled = false;
    const next = nextReady();
    if (next && isDue(next)) {
      waiting.splice(waiting.indexOf(next), 1);
      next.resolve(load.inFlight === 0);
    }
    schedule();
  }

  load.onIdle = schedule;
  return {
    wait: (ready = always) =>
      new Promise((resolve) => {
        waiting.push({ resolve, ready, readyMs: undefined });
        schedule();
      }),
  };
}

function always(): boolean {
  return true;
}

function isReady(waiter: Waiter): boolean {
  if (waiter.readyMs === undefined && waiter.ready()) waiter.readyMs = performance.now();
  return waiter.readyMs !== undefined;
}
