import { Int32Histogram } from "hdr-histogram-js";
import type { Clock } from "../core/clock.ts";

/**
 * Quantiles of times over the last 5 minutes, in 10 s slots: one dense HDR histogram holds the window, and each slot
 * remembers sparsely what it added, to be taken out when it is 5 minutes old. (hdr-histogram-js's own subtract walks
 * the whole array, 20,000 counters, for each slot; this walks only what the slot holds, a few hundred.)
 *
 * Memory at 3 digits: 88 kB dense and 6 bytes per distinct value and slot, whatever the number of runs.
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
  let current = new Map<number, number>();
  let slot = Math.floor(clock.seconds() / slotSeconds);

  function advance(): void {
    const now = Math.floor(clock.seconds() / slotSeconds);
    if (now <= slot) return;
    closed[slot % slots] = closeSlot(current);
    if (current.size > 0) current = new Map();
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
      current.set(index, (current.get(index) ?? 0) + 1);
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

function closeSlot(current: ReadonlyMap<number, number>): ClosedSlot | undefined {
  if (current.size === 0) return undefined;
  return { indexes: Uint16Array.from(current.keys()), counts: Uint32Array.from(current.values()) };
}
