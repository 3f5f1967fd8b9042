import type { MetricName } from "../src/metrics/catalog.ts";
import { catalog, metricPrefix } from "../src/metrics/catalog.ts";

type LabelOf<N extends MetricName> = (typeof catalog)[N]["labels"][number];

/**
 * A selector on a metric of the catalogue; names and labels are checked by the compiler. The dashboards' variables
 * (model, engine, uuid) apply by themselves where the metric has the label.
 *
 * @param matchers PromQL matchers by label: `{ role: '="active"' }`
 * @param suffix of a histogram's series
 */
export function metric<N extends MetricName>(
  name: N,
  matchers?: Readonly<Partial<Record<LabelOf<N>, string>>>,
  suffix: "" | "_bucket" | "_sum" | "_count" = "",
): string {
  const all: [string, string][] = Object.entries({ ...variablesOf(name), ...matchers });
  return `${metricPrefix}${name}${suffix}{${all.map(([label, match]) => `${label}${match}`).join(",")}}`;
}

/** Per-second rate over Grafana's interval. */
export const rate = (selector: string): string => `rate(${selector}[$__rate_interval])`;

export const sumBy = (labels: string, expression: string): string => `sum by (${labels}) (${expression})`;

export function quantile(q: number, labels: string, selector: string): string {
  return `histogram_quantile(${q}, ${sumBy(labels === "" ? "le" : `le, ${labels}`, rate(selector))})`;
}

function variablesOf(name: MetricName): Record<string, string> {
  const labels: readonly string[] = catalog[name].labels;
  const variables: Record<string, string> = {};
  for (const label of ["model", "engine", "uuid"]) {
    if (labels.includes(label)) variables[label] = `=~"$${label}"`;
  }
  return variables;
}
