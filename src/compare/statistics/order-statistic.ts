import { betaInc } from "./special.ts";

/**
 * Distribution-free upper confidence bound of the p-quantile from n independent samples: the rank r (1-based) of the
 * order statistic, r = min{r : P(Bin(n, p) <= r - 1) >= confidence}; undefined when n is too small (p99 at 95 %
 * needs 299 samples). For one look at a fixed n; peeking needs quantile-sequence.ts.
 */
export function quantileUpperRank(n: number, p: number, confidence: number): number | undefined {
  if (n < 1 || binomialCdf(n - 1, n, p) < confidence) return undefined;
  let low = 1;
  let high = n;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (binomialCdf(middle - 1, n, p) >= confidence) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The bound itself; `sorted` ascending. Undefined: not estimable from so few samples. */
export function quantileUpperBound(
  sorted: ArrayLike<number>,
  p: number,
  confidence: number,
): number | undefined {
  const rank = quantileUpperRank(sorted.length, p, confidence);
  return rank === undefined ? undefined : sorted[rank - 1];
}

/** Samples from which on `quantileUpperRank` is defined: p^n <= 1 - confidence. */
export function samplesForUpperBound(p: number, confidence: number): number {
  return Math.ceil(Math.log(1 - confidence) / Math.log(p));
}

/** trtexec's percentile: sorted[max(n - 1 - floor((1 - p) n), 0)] (TensorRT, sampleReporting.cpp). NaN when empty. */
export function percentile(sorted: ArrayLike<number>, p: number): number {
  const n = sorted.length;
  // 1 - p in doubles is a hair off; without the nudge p90 of 10 samples would be the maximum.
  return sorted[Math.max(n - 1 - Math.floor((1 - p) * n + 1e-9), 0)] ?? Number.NaN;
}

/** P(Bin(n, p) <= k). */
export function binomialCdf(k: number, n: number, p: number): number {
  if (k < 0) return 0;
  if (k >= n) return 1;
  return betaInc(1 - p, n - k, k + 1);
}
