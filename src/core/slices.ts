import { setImmediate } from "node:timers/promises";
import type { SpareTime } from "./spare-time.ts";

/** Work on the event loop gives way to live requests after this long; a request takes some four turns, and waits in each. */
const sliceMs = 0.25;

/** Tells when a stretch of work has run for a slice, and lets the event loop turn, or waits for spare time. */
export interface Slices {
  due(): boolean;
  pause(): Promise<void>;
}

export function createSlices(spareTime?: SpareTime): Slices {
  let until = performance.now() + sliceMs;
  return {
    due: () => performance.now() >= until,
    async pause() {
      await (spareTime ? spareTime.wait() : setImmediate());
      until = performance.now() + sliceMs;
    },
  };
}
