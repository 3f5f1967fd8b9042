import type { LiveLoad } from "../core/live-load.ts";

/** Lets shadow work through only while no live request is being answered and the device is not busy. */
export interface IdleGate {
  /** True when it is time; false when that did not come within `seconds`, or the gate was closed. */
  wait(maxUtilization: number, seconds: number): Promise<boolean>;
  /** Lets nobody through any more; those who wait are told at once. */
  close(): void;
}

/** How often a busy machine is looked at; its load is an average over a second. */
const busyPollSeconds = 0.02;

export function createIdleGate(options: {
  readonly load: LiveLoad;
  readonly utilization: () => number;
  readonly seconds: () => number;
}): IdleGate {
  const { load, utilization, seconds: now } = options;
  const waiting = new Set<() => void>();
  let closed = false;

  /** Ends after `seconds`, when the gate is closed, or, if `early`, as soon as nothing is in flight. */
  function pause(seconds: number, early: boolean): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        waiting.delete(done);
        load.removeListener(done);
        resolve();
      };
      const timer = setTimeout(done, seconds * 1000);
      waiting.add(done);
      if (early) load.onIdle(done);
    });
  }

  return {
    async wait(maxUtilization, seconds) {
      const until = now() + seconds;
      for (;;) {
        if (closed) return false;
        const busy = utilization() > maxUtilization;
        if (!busy && load.inFlight === 0) return true;
        const left = until - now();
        if (left <= 0) return false;
        if (busy) await pause(Math.min(busyPollSeconds, left), false);
        else await pause(left, true);
      }
    },
    close() {
      closed = true;
      for (const done of [...waiting]) done();
    },
  };
}
