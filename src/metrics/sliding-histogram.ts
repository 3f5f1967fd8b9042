import { Int32Histogram } from "hdr-histogram-js";
import type { Clock } from "../core/clock.ts";

/**
 * Quantiles of times over the last 5 minutes, in 10 s slots: one dense HDR histogram holds the window, and each slot
 * remembers sparsely what it added, to be taken out when it is 5 minutes old. (hdr-histogram-js's own subtract walks
 * the whole array, 20,000 counters, for each slot; this walks only what the slot holds, a few hundred.)
 *
 * Memory at 3 digits: 88 kB dense, 6 bytes per distinct value and slot, and 2 bytes per run of the last 10 s.
 */
export interface SlidingHistogram {
  /** Seconds, at least 0; above 200 s counts as 200 s. */
  record(seconds: number): void;
  /** Runs in the window. */
  count(): number;
  /**
   * The ceil(p/100 x n)-th smallest values in seconds, rounded up within the digits; 0 gives the smallest.
   *
   * @param ps ascending
   */
  percentiles(ps: readonly number[]): number[];
}

export const slotSeconds = 10;
const slots = 30;

/** HDR counts integers: units of 100 ns keep three digits down to 0.1 ms and two down to 10 us. */
const unitsPerSecond = 1e7;
const highestUnits = 200 * unitsPerSecond;

export function createSlidingHistogram({ clock, digits }: { clock: Clock; digits: 2 | 3 }): SlidingHistogram {
  const window = new Int32Histogram(1, highestUnits, digits);
  const closed: (ClosedSlot | undefined)[] = Array.from({ length: slots });
  /** Where each run of the slot under way went: nothing that V8's collector would look through while it lives. */
  let current = new Uint16Array(256);
  let runs = 0;
  let slot = Math.floor(clock.seconds() / slotSeconds);

  function advance(): void {
    const now = Math.floor(clock.seconds() / slotSeconds);
    if (now <= slot) return;
    closed[slot % slots] = closeSlot(current.subarray(0, runs));
    runs = 0;
    // Every slot whose place in the ring is taken over now is out of the window.
    for (let next = Math.max(slot + 1, now - slots + 1); next <= now; next += 1) {
      expire(closed[next % slots]);
      closed[next % slots] = undefined;
    }
    slot = now;
  }

  function expire(old: ClosedSlot | undefined): void {
    if (old === undefined) return;
    let total = 0;
    for (const [at, index] of old.indexes.entries()) {
      const count = old.counts[at] ?? 0;
      window.addToCountAtIndex(index, -count);
      total += count;
    }
    window.addToTotalCount(-total);
  }

  return {
    record(seconds) {
      advance();
      const units = Math.min(Math.round(seconds * unitsPerSecond), highestUnits);
      const index = window.countsArrayIndex(units);
      window.incrementCountAtIndex(index);
      window.incrementTotalCount();
      if (runs === current.length) {
        const longer = new Uint16Array(2 * runs);
        longer.set(current);
        current = longer;
      }
      current[runs] = index;
      runs += 1;
    },
    count() {
      advance();
      return window.totalCount;
    },
    percentiles(ps) {
      advance();
      // One walk for all; the library's getValueAtPercentile walks from zero for each.
      const values: number[] = [];
      let index = -1;
      let reached = 0;
      for (const p of ps) {
        const rank = Math.max(1, Math.ceil((p * window.totalCount) / 100 - 1e-9));
        while (reached < rank && index + 1 < window.countsArrayLength) {
          index += 1;
          reached += window.getCountAtIndex(index);
        }
        const value = window.valueFromIndex(Math.max(0, index));
        values.push((p === 0 ? value : window.highestEquivalentValue(value)) / unitsPerSecond);
      }
      return values;
    },
  };
}

interface ClosedSlot {
  readonly indexes: Uint16Array;
  readonly counts: Uint32Array;
}

/** By index, all zero but while a slot is closed. */
const tally = new Uint32Array(2 ** 16);

function closeSlot(runs: Uint16Array): ClosedSlot | undefined {
  if (runs.length === 0) return undefined;
  const distinct: number[] = [];
  for (const index of runs) {
    const before = tally[index] as number;
    if (before === 0) distinct.push(index);
    tally[index] = before + 1;
  }
  const indexes = Uint16Array.from(distinct);
  const counts = Uint32Array.from(indexes, (index) => tally[index] as number);
  for (const index of indexes) tally[index] = 0;
  return { indexes, counts };
}
