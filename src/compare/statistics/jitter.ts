import { percentile } from "./order-statistic.ts";

/**
 * Jitter of a series of latencies in seconds, in the order they were measured; kinds are never mixed.
 * PDV and IPDV as in RFC 5481 and RFC 3393; percentiles by trtexec's rule. All NaN when there are too few samples.
 */
export function jitter(seconds: readonly number[]): Jitter {
  const sorted = Float64Array.from(seconds).sort();
  const minimum = sorted[0] ?? Number.NaN;
  const variation = Float64Array.from(seconds.slice(1), (x, i) =>
    Math.abs(x - (seconds[i] as number)),
  ).sort();
  return {
    pdvP99Seconds: percentile(sorted, 0.99) - minimum,
    ipdvP99Seconds: percentile(variation, 0.99),
    iqrSeconds: percentile(sorted, 0.75) - percentile(sorted, 0.25),
    peakToPeakSeconds: (sorted.at(-1) ?? Number.NaN) - minimum,
  };
}

export interface Jitter {
  /** p99 of x_i - min x. */
  readonly pdvP99Seconds: number;
  /** p99 of |x_i - x_(i-1)|. */
  readonly ipdvP99Seconds: number;
  /** p75 - p25. */
  readonly iqrSeconds: number;
  /** max - min. */
  readonly peakToPeakSeconds: number;
}

/** p99 and maximum of |(c_i - c_(i-1)) - T|: how far completions stray from their period, both in seconds. */
export function completionJitter(
  completionSeconds: readonly number[],
  periodSeconds: number,
): { readonly p99Seconds: number; readonly maxSeconds: number } {
  const stray = Float64Array.from(completionSeconds.slice(1), (c, i) =>
    Math.abs(c - (completionSeconds[i] as number) - periodSeconds),
  ).sort();
  return { p99Seconds: percentile(stray, 0.99), maxSeconds: stray.at(-1) ?? Number.NaN };
}
