import { createHash } from "node:crypto";
import { completionJitter, jitter } from "../../compare/statistics/jitter.ts";
import { LogHistogram, secondsRange } from "../../compare/statistics/log-histogram.ts";
import { percentile, quantileUpperBound } from "../../compare/statistics/order-statistic.ts";
import { finite } from "./figures.ts";
import type { ReportEngine } from "./schema.ts";

type Latency = ReportEngine["latency"];
export type Timing = Pick<ReportEngine, "latency" | "jitter" | "distribution" | "seriesSeconds">;

/**
 * Times in the order measured; percentiles by trtexec's rule, each only where a sample lies beyond it. With a period (the
 * model's deadline) also how evenly answers would come, were a request sent each period and answered in turn.
 */
export function timingOfSeries(
  series: readonly number[],
  referenceP50Seconds: number | null,
  periodSeconds?: number,
): Timing {
  if (series.length === 0) return noTiming;
  const sorted = Float64Array.from(series).sort();
  const n = sorted.length;
  const mean = sorted.reduce((sum, x) => sum + x, 0) / n;
  const deviation = Math.sqrt(sorted.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, n - 1));
  const at = (p: number) => (n * (1 - p) >= 1 - 1e-9 ? percentile(sorted, p) : null);
  const { pdvP99Seconds, ipdvP99Seconds, iqrSeconds, peakToPeakSeconds } = jitter(series);
  const histogram = new LogHistogram(secondsRange);
  for (const x of series) histogram.add(x);
  const p50Seconds = percentile(sorted, 0.5);
  return {
    latency: {
      source: "timedRequests",
      samples: n,
      meanSeconds: mean,
      p50Seconds,
      p90Seconds: at(0.9),
      p99Seconds: at(0.99),
      p999Seconds: at(0.999),
      p99UpperBoundSeconds: quantileUpperBound(sorted, 0.99, 0.95) ?? null,
      maxSeconds: sorted.at(-1) as number,
      variationRatio: finite(n < 2 ? null : deviation / mean),
      requestsPerSecond: finite(1 / mean),
      speedupRatio: speedup(referenceP50Seconds, p50Seconds),
      speedupLowerRatio: null,
      speedupUpperRatio: null,
    },
    jitter: {
      pdvP99Seconds: n < 100 ? null : pdvP99Seconds,
      ipdvP99Seconds: n < 101 ? null : ipdvP99Seconds,
      iqrSeconds: n < 4 ? null : iqrSeconds,
      peakToPeakSeconds: n < 2 ? null : peakToPeakSeconds,
      completionP99Seconds:
        periodSeconds === undefined || n < 101
          ? null
          : completionJitter(completions(series, periodSeconds), periodSeconds).p99Seconds,
    },
    distribution: distributionOf(histogram),
    seriesSeconds: [...series],
  };
}

/** The same from histograms, as live evidence has them; what needs the order of samples is not known. */
export function timingOfHistogram(
  histogram: LogHistogram,
  steps: LogHistogram | undefined,
  source: Latency["source"],
): Timing {
  const n = histogram.count;
  if (n === 0) return noTiming;
  const at = (p: number) => (n * (1 - p) >= 1 - 1e-9 ? histogram.quantile(p) : null);
  const quartiles = histogram.quantile(0.75) - histogram.quantile(0.25);
  const p99 = at(0.99);
  return {
    latency: {
      ...noTiming.latency,
      source,
      samples: n,
      p50Seconds: at(0.5),
      p90Seconds: at(0.9),
      p99Seconds: p99,
      p999Seconds: at(0.999),
      maxSeconds: histogram.maximum,
    },
    jitter: {
      pdvP99Seconds: p99 === null ? null : p99 - histogram.minimum,
      ipdvP99Seconds: steps !== undefined && steps.count >= 100 ? steps.quantile(0.99) : null,
      iqrSeconds: n < 4 ? null : quartiles,
      peakToPeakSeconds: n < 2 ? null : histogram.maximum - histogram.minimum,
      completionP99Seconds: null,
    },
    distribution: distributionOf(histogram),
    seriesSeconds: null,
  };
}

export const noTiming: Timing = {
  latency: {
    source: "none",
    samples: 0,
    meanSeconds: null,
    p50Seconds: null,
    p90Seconds: null,
    p99Seconds: null,
    p999Seconds: null,
    p99UpperBoundSeconds: null,
    maxSeconds: null,
    variationRatio: null,
    requestsPerSecond: null,
    speedupRatio: null,
    speedupLowerRatio: null,
    speedupUpperRatio: null,
  },
  jitter: {
    pdvP99Seconds: null,
    ipdvP99Seconds: null,
    iqrSeconds: null,
    peakToPeakSeconds: null,
    completionP99Seconds: null,
  },
  distribution: null,
  seriesSeconds: null,
};

/** When each answer comes, if request i is sent at i x period and waits for the one before it. */
function completions(series: readonly number[], periodSeconds: number): number[] {
  let free = 0;
  return series.map((seconds, i) => (free = Math.max(free, i * periodSeconds) + seconds));
}

export function speedup(referenceSeconds: number | null, seconds: number | null): number | null {
  return referenceSeconds === null || seconds === null ? null : finite(referenceSeconds / seconds);
}

/** Digest of raw times, so that a report can be held against the samples it was made from. */
export function seriesSha256(series: readonly (readonly number[])[]): string {
  const hash = createHash("sha256");
  for (const times of series) hash.update(new Uint8Array(Float64Array.from(times).buffer));
  return hash.digest("hex");
}

function distributionOf(histogram: LogHistogram): ReportEngine["distribution"] {
  const upperEdgesSeconds: number[] = [];
  const counts: number[] = [];
  let rank = 0;
  for (const count of histogram.counts) {
    if (count === 0) continue;
    rank += count;
    upperEdgesSeconds.push(histogram.upperEdge(rank));
    counts.push(count);
  }
  return { upperEdgesSeconds, counts };
}
