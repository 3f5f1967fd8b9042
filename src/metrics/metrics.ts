import type { Clock } from "../core/clock.ts";
import { createSlices } from "../core/slices.ts";
import type { MetricLabels, MetricName, MetricOfKind } from "./catalog.ts";
import { catalog, metricPrefix } from "./catalog.ts";
import type { ExpositionFormat } from "./exposition.ts";
import { expose } from "./exposition.ts";
import type { Family } from "./family.ts";
import { createFamily, labelText } from "./family.ts";
import type { LatencyLabels, LatencyRecorder } from "./latency.ts";
import { createLatencyRecorder } from "./latency.ts";
import { observeInto } from "./observe.ts";

/**
 * The gateway's recorder. Names and labels are those of the catalogue, checked by the compiler. Recording never
 * throws and never waits: a value that a counter or a histogram cannot hold (negative, not finite) is left out.
 */
export interface Metrics {
  inc<N extends MetricOfKind<"counter">>(name: N, labels: MetricLabels<N>, by?: number): void;
  /** NaN takes the series out of the exposition until it is set again. */
  set<N extends MetricOfKind<"gauge">>(name: N, labels: MetricLabels<N>, value: number): void;
  /** @param exemplar what finds the request again: its trace or request id. */
  observe<N extends MetricOfKind<"histogram">>(
    name: N,
    labels: MetricLabels<N>,
    seconds: number,
    exemplar?: ExemplarIds,
  ): void;
  /** Feeds inference_duration_seconds, latency_percentile_seconds and jitter_seconds; the same labels give the same one. */
  latency(labels: LatencyLabels): LatencyRecorder;
  /** Forgets the metric's series that carry all of these labels. */
  remove<N extends MetricName>(name: N, labels: Partial<MetricLabels<N>>): void;
  /** Forgets every series of a model, or of one of its engines, in every metric that has these labels. */
  removeModel(labels: { readonly model: string; readonly engine?: string }): void;
  /** Everything as UTF-8 text, in chunks with turns of the event loop between them. */
  expose(format: ExpositionFormat): AsyncGenerator<Uint8Array>;
}

interface KeptLatency {
  readonly labels: LatencyLabels;
  readonly recorder: LatencyRecorder;
}

type ExemplarIds = { readonly trace_id: string } | { readonly request_id: string };

/** Exemplars of one bucket are at least this far apart, so that they cost the hot path nothing. */
const exemplarSeconds = 1;

export function createMetrics({ clock }: { readonly clock: Clock }): Metrics {
  const families = new Map<string, Family>();
  for (const [name, definition] of Object.entries(catalog)) {
    families.set(name, createFamily(metricPrefix + name, definition));
  }
  const family = (name: MetricName): Family => families.get(name) as Family;
  /** By model; those of one are looked through, which takes a fifth of the time that making a key of the labels does. */
  const latencies = new Map<string, KeptLatency[]>();

  return {
    inc(name, labels, by = 1) {
      if (!(by >= 0 && by < Infinity)) return;
      const { values } = family(name).series(labels);
      values[0] = (values[0] as number) + by;
    },
    set(name, labels, value) {
      family(name).series(labels).values[0] = value;
    },
    observe(name, labels, seconds, exemplar) {
      if (!(seconds >= 0 && seconds < Infinity)) return;
      const series = family(name).series(labels);
      const bucket = observeInto(series, catalog[name].buckets, seconds);
      if (exemplar === undefined || series.exemplars === undefined) return;
      const unixSeconds = clock.now().getTime() / 1000;
      const newest = series.exemplars[bucket];
      if (newest !== undefined && unixSeconds - newest.unixSeconds < exemplarSeconds) return;
      series.exemplars[bucket] = {
        labelText: labelText(Object.keys(exemplar), Object.values(exemplar)),
        value: seconds,
        unixSeconds,
      };
    },
    latency(labels) {
      const { model, engine, role } = labels;
      const ofModel = latencies.get(model) ?? [];
      for (const kept of ofModel)
        if (kept.labels.engine === engine && kept.labels.role === role) return kept.recorder;
      const recorder = createLatencyRecorder(
        labels,
        {
          histogram: family("inference_duration_seconds"),
          percentile: family("latency_percentile_seconds"),
          jitter: family("jitter_seconds"),
        },
        clock,
      );
      latencies.set(model, [...ofModel, { labels, recorder }]);
      return recorder;
    },
    remove(name, labels) {
      family(name).remove(defined(labels));
    },
    removeModel(labels) {
      const { model, engine } = labels;
      const others = (latencies.get(model) ?? []).filter(
        (kept) => engine !== undefined && kept.labels.engine !== engine,
      );
      if (others.length > 0) latencies.set(model, others);
      else latencies.delete(model);
      for (const one of families.values()) {
        if (!one.definition.labels.includes("model")) continue;
        for (const wanted of engineForms(one.definition.labels, labels)) one.remove(wanted);
      }
    },
    async *expose(format) {
      const slices = createSlices();
      for (const { recorder } of [...latencies.values()].flat()) {
        recorder.summary();
        if (slices.due()) await slices.pause();
      }
      yield* expose(families.values(), format);
    },
  };
}

/** Where an engine appears under other label names: as candidate, reference, or end of a switch. */
function engineForms(
  names: readonly string[],
  { model, engine }: { readonly model: string; readonly engine?: string },
): Readonly<Record<string, string>>[] {
  if (engine === undefined) return [{ model }];
  return ["engine", "candidate", "reference"]
    .filter((name) => names.includes(name))
    .map((name) => ({ model, [name]: engine }));
}

function defined(
  labels: Readonly<Record<string, string | number | undefined>>,
): Record<string, string | number> {
  const entries = Object.entries(labels).filter(
    (entry): entry is [string, string | number] => entry[1] !== undefined,
  );
  return Object.fromEntries(entries);
}
