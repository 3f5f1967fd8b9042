import type { Clock } from "../core/clock.ts";
import type { InferenceRole } from "./catalog.ts";
import { latencyPercentiles } from "./catalog.ts";
import type { Family, Series } from "./family.ts";
import { observeInto } from "./observe.ts";
import type { SlidingHistogram } from "./sliding-histogram.ts";
import { createSlidingHistogram } from "./sliding-histogram.ts";

/** Engine times of one engine in one role; resolve it once and keep it. */
export interface LatencyRecorder {
  /** One run's engine time; what is negative or not finite is left out. Well under a microsecond. */
  record(seconds: number): void;
  /** The last 5 minutes, at most 1 s old; undefined when nothing ran in them. */
  summary(): LatencySummary | undefined;
}

interface LatencySummary {
  readonly count: number;
  /** Keys are those of `latencyPercentiles`, values seconds. */
  readonly percentiles: Readonly<Record<string, number>>;
  /** The rest of the distribution for those who draw it: percentiles 0, 1, 5, 10, 25 and 75, seconds. */
  readonly spread: Readonly<Record<string, number>>;
  readonly jitter: { readonly pdv: number; readonly ipdv: number; readonly iqr: number };
}

export type LatencyLabels = Readonly<{ model: string; engine: string; role: InferenceRole }>;

/** Seconds for which a summary is shown again instead of computed anew. */
const freshSeconds = 1;
const spreadPercentiles = [0, 1, 5, 10, 25, 75];

/** @param families where the three metrics of a run go. */
export function createLatencyRecorder(
  labels: LatencyLabels,
  families: { histogram: Family; percentile: Family; jitter: Family },
  clock: Clock,
): LatencyRecorder {
  const histogram = families.histogram.series(labels);
  const bounds = families.histogram.definition.buckets ?? [];
  const times = createSlidingHistogram({ clock, digits: 3 });
  const steps = createSlidingHistogram({ clock, digits: 2 });
  const gauges = {
    percentiles: latencyPercentiles.map((percentile) =>
      families.percentile.series({ ...labels, percentile }),
    ),
    pdv: families.jitter.series({ ...labels, kind: "pdv" }),
    ipdv: families.jitter.series({ ...labels, kind: "ipdv" }),
    iqr: families.jitter.series({ ...labels, kind: "iqr" }),
  };
  let previous = Number.NaN;
  let shown: LatencySummary | undefined;
  let shownAt = -Infinity;
  show(gauges, undefined);

  return {
    record(seconds) {
      if (!(seconds >= 0 && seconds < Infinity)) return;
      observeInto(histogram, bounds, seconds);
      times.record(seconds);
      if (!Number.isNaN(previous)) steps.record(Math.abs(seconds - previous));
      previous = seconds;
    },
    summary() {
      const now = clock.seconds();
      if (now - shownAt < freshSeconds) return shown;
      shownAt = now;
      shown = summarise(times, steps);
      show(gauges, shown);
      return shown;
    },
  };
}

/** PDV and IPDV after RFC 5481 and RFC 3393; both are given as their 99th percentile. */
function summarise(times: SlidingHistogram, steps: SlidingHistogram): LatencySummary | undefined {
  const count = times.count();
  if (count === 0) return undefined;
  const below = times.percentiles(spreadPercentiles);
  const spread = Object.fromEntries(spreadPercentiles.map((p, at) => [String(p), below[at] as number]));
  const values = times.percentiles(latencyPercentiles);
  const percentiles = Object.fromEntries(
    latencyPercentiles.map((p, at) => [String(p), values[at] as number]),
  );
  return {
    count,
    percentiles,
    spread,
    jitter: {
      pdv: (percentiles["99"] as number) - (spread["0"] as number),
      ipdv: steps.count() === 0 ? 0 : (steps.percentiles([99])[0] as number),
      iqr: (spread["75"] as number) - (spread["25"] as number),
    },
  };
}

/** A gauge that is NaN is not exposed. */
function show(
  gauges: { percentiles: Series[]; pdv: Series; ipdv: Series; iqr: Series },
  summary: LatencySummary | undefined,
): void {
  for (const [at, series] of gauges.percentiles.entries()) {
    series.values[0] = summary?.percentiles[String(latencyPercentiles[at])] ?? Number.NaN;
  }
  for (const kind of ["pdv", "ipdv", "iqr"] as const) {
    gauges[kind].values[0] = summary?.jitter[kind] ?? Number.NaN;
  }
}
