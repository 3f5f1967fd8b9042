import type { Clock } from "../../src/core/clock.ts";

/** A clock that stands still until told. */
export function manualClock(): Clock & { advance(seconds: number): void } {
  let seconds = 1000;
  return {
    seconds: () => seconds,
    now: () => new Date(1_700_000_000_000 + seconds * 1000),
    advance(by) {
      seconds += by;
    },
  };
}

/** mulberry32: numbers in [0, 1) that are the same on every run. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
