import type { MetricDefinition } from "../src/metrics/catalog.ts";
import { catalog, metricPrefix } from "../src/metrics/catalog.ts";

/** docs/metrics.md: the catalogue as a table. */
export function metricsDocument(): string {
  const definitions: [string, MetricDefinition][] = Object.entries(catalog);
  const rows = definitions.map(([name, { kind, labels, help }]) => {
    const text = help.replaceAll("|", "\\|");
    return `| \`${metricPrefix}${name}\` | ${kind} | ${labels.join(", ")} | ${text} |`;
  });
  return `# Metrics
Generated from \`src/metrics/catalog.ts\` by \`npm run dashboards\`; do not edit.

\`GET /metrics\` answers Prometheus text 0.0.4, or OpenMetrics 1.0 (with exemplars on \`${metricPrefix}request_duration_seconds\`) to an
Accept header that prefers it. Dashboards, alert and recording rules are in \`grafana/\`. A series is absent while there is nothing to
show (a percentile of an empty window, a value the device does not tell), never zero.

| metric | kind | labels | meaning |
|---|---|---|---|
${rows.join("\n")}
`;
}
