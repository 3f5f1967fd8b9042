import type { LogHistogram } from "./log-histogram.ts";
import { isRefuted, type Interval, type Prior } from "./rate-sequence.ts";

/**
 * An always-valid interval for the p-quantile of a stream, from its histogram: the order statistics at which the
 * share of smaller values refutes p (beta-binomial mixture; Howard & Ramdas, Bernoulli 28(3), 2022, theorem 1 with
 * the bound of their section on fixed quantiles). Bucket edges are taken on the safe side. `upper` is Infinity while
 * n is too small to bound the quantile from above (920 at p99 and alpha 4e-4).
 */
export function quantileInterval(histogram: LogHistogram, p: number, alpha: number): Interval {
  const ranks = quantileRanks(histogram.count, p, alpha);
  return {
    lower: ranks.lower === undefined ? 0 : histogram.lowerEdge(ranks.lower),
    upper: ranks.upper === undefined ? Infinity : histogram.upperEdge(ranks.upper),
  };
}

/** 1-based ranks of the order statistics that bound the p-quantile; undefined where n is too small. */
export function quantileRanks(n: number, p: number, alpha: number): QuantileRanks {
  if (n === 0) return { lower: undefined, upper: undefined };
  const prior = quantilePrior(p);
  const refuted = (below: number) => isRefuted(p, { events: below, n, alpha, prior });
  const centre = Math.min(n, Math.max(0, Math.round(n * p)));
  // k values below x refute "x is above the quantile" when k is too large; then x_(k) bounds it from above.
  const upper = refuted(n) ? firstTrue(centre, n, refuted) : undefined;
  // More than k values lie at or below the quantile when k is too small; then x_(k+1) bounds it from below.
  const lower = refuted(0) ? firstTrue(0, centre, (below) => !refuted(below)) : undefined;
  return { lower: lower === undefined ? undefined : Math.max(1, lower), upper };
}

export interface QuantileRanks {
  readonly lower: number | undefined;
  readonly upper: number | undefined;
}

/** Centred on p; the weight of 50 observations makes the bound tight between some hundreds and some ten thousands. */
function quantilePrior(p: number): Prior {
  const weight = 0.5 / Math.min(p, 1 - p);
  return { a: p * weight, b: (1 - p) * weight };
}

/** Smallest integer in [low, high] for which a monotone predicate holds; it holds at high. */
function firstTrue(low: number, high: number, holds: (k: number) => boolean): number {
  let from = low;
  let to = high;
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return to;
}
