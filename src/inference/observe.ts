import type { Metrics } from "../metrics/metrics.ts";
import type { Served } from "./inference.ts";

/** Engine and queue time of an answered request. */
export function observeServed(metrics: Metrics, served: Served): void {
  const model = served.model.name;
  metrics.latency({ model, engine: served.engine.id, role: "active" }).record(served.engineSeconds);
  metrics.observe("queue_duration_seconds", { model }, served.queueSeconds);
}

/** The whole request as its client saw it. */
export function observeAnswered(
  metrics: Metrics,
  answer: {
    readonly model: string;
    readonly engine: string;
    readonly status: number;
    readonly seconds: number;
    readonly deadlineSeconds: number | undefined;
    readonly exemplar: { readonly trace_id: string } | { readonly request_id: string } | undefined;
  },
): void {
  const { model, engine, seconds, deadlineSeconds } = answer;
  const labels = { model, engine, code: answer.status };
  metrics.inc("requests_total", labels);
  metrics.observe("request_duration_seconds", labels, seconds, answer.exemplar);
  // A request that got no reply in time is late whatever its status; a refused one (4xx) had nothing to be late with.
  const counts = answer.status < 400 || answer.status >= 500;
  if (counts && deadlineSeconds !== undefined)
    metrics.inc("deadline_misses_total", { model, engine }, seconds > deadlineSeconds ? 1 : 0);
}
