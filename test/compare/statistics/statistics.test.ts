import { array, assert, double, property } from "fast-check";
import { expect, test } from "vitest";
import { createDeadlineCounter } from "../../../src/compare/statistics/deadline.ts";
import { earlyStopping } from "../../../src/compare/statistics/early-stopping.ts";
import { LogHistogram, secondsRange } from "../../../src/compare/statistics/log-histogram.ts";
import {
  percentile,
  quantileUpperBound,
  samplesForUpperBound,
} from "../../../src/compare/statistics/order-statistic.ts";
import { quantileInterval } from "../../../src/compare/statistics/quantile-sequence.ts";
import { createRandom } from "../../../src/compare/statistics/random.ts";
import { isRefuted, priorAround, rateInterval } from "../../../src/compare/statistics/rate-sequence.ts";

test("early stopping says how many more good requests are needed", () => {
  expect(earlyStopping({ percentile: 0.99, over: 0, within: 400 })).toEqual({
    passed: false,
    neededWithin: 459,
    moreNeeded: 59,
  });
  expect(earlyStopping({ percentile: 0.99, over: 1, within: 661 }).passed).toBe(true);
});

test("an upper bound is not estimable from too few samples", () => {
  expect(samplesForUpperBound(0.99, 0.95)).toBe(299);
  expect(quantileUpperBound(new Float64Array(298), 0.99, 0.95)).toBeUndefined();
});

test("percentile follows trtexec's rule", () => {
  const ten = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  expect(percentile(ten, 0.9)).toBe(9);
  expect(percentile(ten, 0.99)).toBe(10);
  expect(percentile(ten, 0.5)).toBe(5);
  expect(percentile([], 0.5)).toBeNaN();
});

test("deadline misses: ratio, longest run and the most in k consecutive requests", () => {
  const counter = createDeadlineCounter(5);
  for (const step of "..xx.x......xxx.") counter.add(step === "x");
  expect(counter.result()).toEqual({
    requests: 16,
    misses: 6,
    missRatio: 6 / 16,
    longestRun: 3,
    mostInWindow: 3,
    window: 5,
  });
});

test("a log histogram bounds every order statistic from both sides within its bucket", () => {
  assert(
    property(
      array(double({ min: 1e-9, max: 200, noNaN: true }), { minLength: 1, maxLength: 60 }),
      (values) => {
        const histogram = new LogHistogram(secondsRange);
        for (const value of values) histogram.add(value);
        for (const [i, value] of values.toSorted((a, b) => a - b).entries()) {
          const low = histogram.lowerEdge(i + 1);
          const high = histogram.upperEdge(i + 1);
          expect(low).toBeLessThanOrEqual(value);
          expect(high).toBeGreaterThanOrEqual(value);
          if (value > 2 ** -22 && value < 64) expect(high / low).toBeLessThanOrEqual(1 + 2 ** -7 + 1e-12);
        }
        expect(LogHistogram.restore(structuredClone(histogram.snapshot()))).toEqual(histogram);
      },
    ),
  );
});

test("the rate interval holds the true rate at every look in at least 1 - alpha of the streams", () => {
  const random = createRandom(11);
  let wrong = 0;
  for (let stream = 0; stream < 400; stream += 1) {
    let events = 0;
    for (let n = 1; n <= 2000; n += 1) {
      if (random.next() < 0.05) events += 1;
      if (n % 10 !== 0) continue;
      const { lower, upper } = rateInterval(events, n, 0.1, priorAround(0.05));
      if (lower > 0.05 || upper < 0.05) {
        wrong += 1;
        break;
      }
    }
  }
  expect(wrong / 400).toBeLessThanOrEqual(0.12);
});

test.each([
  { events: 0, n: 5000 },
  { events: 3, n: 400 },
  { events: 40, n: 1000 },
])("rates are refuted outside of their interval, not in it: $events of $n", ({ events, n }) => {
  const [alpha, prior] = [0.05, priorAround(0.01)];
  const { lower, upper } = rateInterval(events, n, alpha, prior);
  const refuted = (rate: number) => isRefuted(rate, { events, n, alpha, prior });
  expect([lower * 1.001, upper * 0.999].map(refuted)).toEqual([false, false]);
  expect(refuted(upper * 1.001)).toBe(true);
  expect(refuted(lower * 0.999)).toBe(events > 0);
});

test("the quantile interval holds the true quantile at every look, ties and buckets included", () => {
  const random = createRandom(12);
  let wrong = 0;
  for (let stream = 0; stream < 300; stream += 1) {
    const histogram = new LogHistogram(secondsRange);
    // Exponential with p90 = 1, rounded down to a coarse clock half of the time.
    for (let n = 1; n <= 2000; n += 1) {
      const value = -Math.log(1 - random.next()) / Math.LN10;
      histogram.add(stream % 2 === 0 ? value : Math.ceil(value * 4) / 4);
      if (n % 25 !== 0) continue;
      const { lower, upper } = quantileInterval(histogram, 0.9, 0.1);
      if (lower > 1 || upper < 1) {
        wrong += 1;
        break;
      }
    }
  }
  expect(wrong / 300).toBeLessThanOrEqual(0.12);
});

test("a seeded generator resumes from its state", () => {
  const first = createRandom(5);
  first.next();
  const resumed = createRandom(first.state());
  expect([resumed.next(), resumed.next()]).toEqual([first.next(), first.next()]);
});
