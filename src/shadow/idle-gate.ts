import type { LiveLoad } from "../inference/inference.ts";

/** Lets shadow work through only while no live request is being answered and the device is not busy. */
export interface IdleGate {
  /** True when it is time; false when that did not come within `seconds`. */
  wait(maxUtilization: number, seconds: number): Promise<boolean>;
}

const pollMs = 1;

export function createIdleGate(options: {
  readonly load: LiveLoad;
  readonly utilization: () => number;
  readonly seconds: () => number;
}): IdleGate {
  const { load, utilization, seconds: now } = options;
  return {
    async wait(maxUtilization, seconds) {
      const until = now() + seconds;
      for (;;) {
        if (load.inFlight === 0 && utilization() <= maxUtilization) return true;
        if (now() >= until) return false;
        await new Promise((resolve) =>
          setTimeout(resolve, utilization() > maxUtilization ? 20 * pollMs : pollMs),
        );
      }
    },
  };
}
