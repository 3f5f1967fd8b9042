import type { LiveLoad } from "../core/live-load.ts";

/** Lets shadow work through only while no live request is being answered and the device is not busy. */
export interface IdleGate {
  /** True when it is time; false when that did not come within `seconds`, or the gate was closed. */
  wait(maxUtilization: number, seconds: number): Promise<boolean>;
  /** Lets nobody through any more; those who wait are told at once. */
  close(): void;
}

const pollMs = 1;

export function createIdleGate(options: {
  readonly load: LiveLoad;
  readonly utilization: () => number;
  readonly seconds: () => number;
}): IdleGate {
  const { load, utilization, seconds: now } = options;
  const state = { closed: false };
  return {
    async wait(maxUtilization, seconds) {
      const until = now() + seconds;
      for (;;) {
        if (state.closed) return false;
        if (load.inFlight === 0 && utilization() <= maxUtilization) return true;
        if (now() >= until) return false;
        await new Promise((resolve) =>
          setTimeout(resolve, utilization() > maxUtilization ? 20 * pollMs : pollMs),
        );
      }
    },
    close() {
      state.closed = true;
    },
  };
}
