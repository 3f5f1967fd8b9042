import type { ExpositionFormat } from "./exposition.ts";

/** OpenMetrics when the Accept header puts it before plain text, as Prometheus's does; text 0.0.4 otherwise. */
export function negotiate(accept: string | undefined): ExpositionFormat {
  if (accept === undefined) return "prometheus";
  const open = quality(accept, (type) => type === "application/openmetrics-text");
  const text = quality(accept, (type) => type === "text/plain" || type === "text/*" || type === "*/*");
  return open > 0 && open >= text ? "openmetrics" : "prometheus";
}

function quality(accept: string, wanted: (type: string) => boolean): number {
  let best = 0;
  for (const range of accept.split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    if (!wanted(type)) continue;
    const q = parameters.find((parameter) => parameter.startsWith("q="));
    best = Math.max(best, q === undefined ? 1 : Number(q.slice(2)) || 0);
  }
  return best;
}
