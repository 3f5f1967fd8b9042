import { describe, expect, it } from "vitest";
import { createSlidingHistogram, slotSeconds } from "../../src/metrics/sliding-histogram.ts";
import { manualClock, seededRandom } from "./_helpers.ts";

/** The definition itself: the ceil(p/100 x n)-th smallest of the values kept. */
function exact(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((Math.round(p * 10) * sorted.length) / 1000) - 1)] as number;
}

describe("sliding histogram", () => {
  it("agrees with sorted values to three digits while slots come and go", () => {
    const clock = manualClock();
    const random = seededRandom(7);
    const histogram = createSlidingHistogram({ clock, digits: 3 });
    const kept: { slot: number; seconds: number }[] = [];
    for (let second = 0; second < 1200; second += 1) {
      clock.advance(1);
      const slot = Math.floor(clock.seconds() / slotSeconds);
      // Quiet for longer than a slot now and then, and once for longer than the window.
      if (second % 200 > 150 || (second > 500 && second < 850)) continue;
      for (let n = 0; n < 5; n += 1) {
        const seconds = 0.0004 + Math.exp(random() * 6) * 1e-4;
        histogram.record(seconds);
        kept.push({ slot, seconds });
      }
      const live = kept.filter((one) => one.slot > slot - 30).map((one) => one.seconds);
      expect(histogram.count()).toBe(live.length);
      const ps = [0, 25, 50, 99, 99.9, 100];
      for (const [at, got] of histogram.percentiles(ps).entries()) {
        const want = exact(live, ps[at] as number);
        expect(Math.abs(got - want)).toBeLessThanOrEqual(want * 1e-3 + 1e-7);
      }
    }
  });

  it("is empty once five minutes have passed", () => {
    const clock = manualClock();
    const histogram = createSlidingHistogram({ clock, digits: 3 });
    histogram.record(0.01);
    clock.advance(289);
    expect(histogram.count()).toBe(1);
    clock.advance(11);
    expect(histogram.count()).toBe(0);
    clock.advance(1e6);
    histogram.record(0.02);
    expect(histogram.percentiles([100])[0]).toBeCloseTo(0.02, 4);
  });

  it("counts times over its range as the largest it can hold", () => {
    const histogram = createSlidingHistogram({ clock: manualClock(), digits: 3 });
    histogram.record(1e9);
    expect(histogram.percentiles([100])[0]).toBeGreaterThanOrEqual(200);
  });
});
