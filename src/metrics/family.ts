import type { MetricDefinition } from "./catalog.ts";

/**
 * The series of one metric. Values of a series lie in one small Float64Array, so that a whole metric is copied in
 * microseconds at a scrape and formatted afterwards in slices.
 */
export interface Family {
  readonly name: string;
  readonly definition: MetricDefinition;
  /** The series with these labels, made with zeros when it is new. Keys of `labels` must be the metric's. */
  series(labels: Labels): Series;
  /** Forgets every series whose labels equal all of `labels`. */
  remove(labels: Labels): void;
  /** All series with a copy of their values, taken in one stretch. */
  snapshot(): FamilySnapshot;
}

type Labels = Readonly<Record<string, string | number>>;

export interface Series {
  readonly labels: readonly string[];
  /** `model="a",engine="b"`, escaped. */
  readonly labelText: string;
  /** Counter, gauge: one value. Histogram: runs per bucket (not cumulative, `+Inf` last), then the sum. */
  readonly values: Float64Array;
  /** Newest exemplar per bucket. */
  readonly exemplars: (Exemplar | undefined)[] | undefined;
}

/** A request that fell into a bucket, to be looked up in traces or logs. */
interface Exemplar {
  /** `trace_id="..."` or `request_id="..."`, escaped. */
  readonly labelText: string;
  readonly value: number;
  readonly unixSeconds: number;
}

export interface FamilySnapshot {
  readonly series: readonly Series[];
  /** Values of series i begin at i x stride. */
  readonly values: Float64Array;
  readonly stride: number;
}

/** Up to so many are looked through: comparing labels takes a fifth of the time that making a key of them does. */
const mostLookedThrough = 8;

export function createFamily(name: string, definition: MetricDefinition): Family {
  const byKey = new Map<string, Series>();
  /** The first of them, with their labels as they were given. */
  let few: { readonly given: readonly (string | number | undefined)[]; readonly series: Series }[] = [];
  const buckets = definition.buckets?.length;
  const stride = buckets === undefined ? 1 : buckets + 2;

  function isGiven(given: readonly (string | number | undefined)[], labels: Labels): boolean {
    for (let at = 0; at < given.length; at += 1)
      if (given[at] !== labels[definition.labels[at] as string]) return false;
    return true;
  }

  return {
    name,
    definition,
    series(labels) {
      for (const { given, series } of few) if (isGiven(given, labels)) return series;
      let key = "";
      for (const label of definition.labels) key += `${labels[label]}\u0000`;
      let series = byKey.get(key);
      if (series === undefined) {
        const values = definition.labels.map((label) => String(labels[label]));
        series = {
          labels: values,
          labelText: labelText(definition.labels, values),
          values: new Float64Array(stride),
          exemplars: buckets === undefined ? undefined : Array.from({ length: buckets + 1 }),
        };
        byKey.set(key, series);
        if (few.length < mostLookedThrough)
          few.push({ given: definition.labels.map((label) => labels[label]), series });
      }
      return series;
    },
    remove(labels) {
      const wanted = Object.entries(labels).map(
        ([label, value]) => [definition.labels.indexOf(label), String(value)] as const,
      );
      for (const [key, series] of byKey) {
        if (wanted.every(([at, value]) => series.labels[at] === value)) byKey.delete(key);
      }
      const kept = new Set(byKey.values());
      few = few.filter(({ series }) => kept.has(series));
    },
    snapshot() {
      const series = [...byKey.values()];
      const values = new Float64Array(series.length * stride);
      for (const [at, one] of series.entries()) values.set(one.values, at * stride);
      return { series, values, stride };
    },
  };
}

/** `a="1",b="2"` with backslash, quote and line feed escaped as the Prometheus text format 0.0.4 wants it. */
export function labelText(names: readonly string[], values: readonly string[]): string {
  return names.map((name, at) => `${name}="${escaped(values[at] ?? "")}"`).join(",");
}

function escaped(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
