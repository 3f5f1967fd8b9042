import { setImmediate } from "node:timers/promises";
import type { SpareTime } from "./spare-time.ts";

/** Work on the event loop gives way to live requests after this long; a request takes some four turns, and waits in each. */
const sliceMs = 0.25;
/** What can wait for spare time can wait for more of it. */
const spareSliceMs = 0.1;

/** Tells when a stretch of work has run for a slice, and lets the event loop turn, or waits for spare time. */
export interface Slices {
  due(): boolean;
  pause(): Promise<void>;
}

export function createSlices(spareTime?: SpareTime): Slices {
  const ms = spareTime ? spareSliceMs : sliceMs;
  let isSpare = spareTime !== undefined;
  let until = performance.now() + ms;
  return {
    due: () => performance.now() >= until,
    async pause() {
      // Where no spare time came once, what is left would take too long if each of its pieces waited for some.
      if (spareTime && isSpare) isSpare = await spareTime.wait();
      else await setImmediate();
      until = performance.now() + ms;
    },
  };
}
