import { quantileUpperRank } from "../../src/compare/statistics/order-statistic.ts";

/** Percentile of sorted or unsorted values, nearest rank. NaN of none. */
export function percentile(values: Float64Array | readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Bounds of the median of which these are samples, by order statistics: nothing is assumed about how they are distributed. */
export function medianInterval(
  values: readonly number[],
  confidence: number,
): { readonly lower: number; readonly upper: number } {
  const rank = quantileUpperRank(values.length, 0.5, (1 + confidence) / 2);
  const sorted = values.toSorted((a, b) => a - b);
  if (rank === undefined) return { lower: -Infinity, upper: Infinity };
  return { lower: sorted[values.length - rank] ?? -Infinity, upper: sorted[rank - 1] ?? Infinity };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
