import { createSlices } from "../core/slices.ts";
import type { Family, FamilySnapshot } from "./family.ts";

export type ExpositionFormat = "prometheus" | "openmetrics";

export const contentTypes: Record<ExpositionFormat, string> = {
  prometheus: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/**
 * The families as Prometheus text 0.0.4 or OpenMetrics 1.0, UTF-8, in chunks. The event loop turns between chunks, so a
 * scrape of 12,000 lines never holds a request up; each family is copied in one stretch, so its values belong together.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 * https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
 */
export async function* expose(
  families: Iterable<Family>,
  format: ExpositionFormat,
): AsyncGenerator<Uint8Array> {
  const slices = createSlices();
  let chunk = "";
  for (const family of families) {
    const snapshot = family.snapshot();
    if (snapshot.series.length === 0) continue;
    const lines = family.definition.kind === "histogram" ? histogramLines : valueLines;
    let head = header(family, format);
    for (let at = 0; at < snapshot.series.length; at += 1) {
      const text = lines(family, snapshot, at, format);
      if (text === "") continue;
      chunk += head + text;
      head = "";
      if (slices.due()) {
        // Encoded here, in its slice: one long string would be flattened and encoded in a stretch of 10 ms.
        yield Buffer.from(chunk);
        chunk = "";
        await slices.pause();
      }
    }
  }
  yield Buffer.from(format === "openmetrics" ? `${chunk}# EOF\n` : chunk);
}

function header({ name, definition }: Family, format: ExpositionFormat): string {
  const help = definition.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  // OpenMetrics names a counter's family without the suffix that its samples carry.
  const family =
    format === "openmetrics" && definition.kind === "counter" ? name.replace(/_total$/, "") : name;
  const text = format === "openmetrics" ? help.replaceAll('"', '\\"') : help;
  return `# HELP ${family} ${text}\n# TYPE ${family} ${definition.kind}\n`;
}

function valueLines({ name }: Family, { series, values }: FamilySnapshot, at: number): string {
  const value = values[at] as number;
  if (Number.isNaN(value)) return "";
  const labels = series[at]?.labelText ?? "";
  return labels === "" ? `${name} ${number(value)}\n` : `${name}{${labels}} ${number(value)}\n`;
}

function histogramLines(
  { name, definition }: Family,
  { series, values, stride }: FamilySnapshot,
  at: number,
  format: ExpositionFormat,
): string {
  const one = series[at];
  const bounds = definition.buckets ?? [];
  const labels = one?.labelText ?? "";
  const comma = labels === "" ? "" : ",";
  let text = "";
  let count = 0;
  for (let bucket = 0; bucket <= bounds.length; bucket += 1) {
    count += values[at * stride + bucket] as number;
    const bound = bounds[bucket];
    const le = bound === undefined ? "+Inf" : float(bound);
    const exemplar = format === "openmetrics" ? one?.exemplars?.[bucket] : undefined;
    text += `${name}_bucket{${labels}${comma}le="${le}"} ${count}`;
    text +=
      exemplar === undefined
        ? "\n"
        : ` # {${exemplar.labelText}} ${number(exemplar.value)} ${exemplar.unixSeconds}\n`;
  }
  const sum = number(values[at * stride + bounds.length + 1] as number);
  const braces = labels === "" ? "" : `{${labels}}`;
  return `${text}${name}_sum${braces} ${sum}\n${name}_count${braces} ${count}\n`;
}

/** OpenMetrics wants `le` as a float ("1.0"); both formats get it, so that a change of format keeps the series. */
function float(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound);
}

function number(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}
