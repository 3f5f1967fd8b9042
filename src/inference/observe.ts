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
  const { model, engine, status, seconds, deadlineSeconds } = answer;
  const labels = { model, engine, code: status };
  metrics.inc("requests_total", labels);
  metrics.observe("request_duration_seconds", labels, seconds, answer.exemplar);
  // A refused request (4xx) had nothing to be late with. One that failed was not answered right in time, however soon
  // it failed; one that ran out of time may have been given less than the deadline by its client.
  if (deadlineSeconds === undefined || (status >= 400 && status < 500)) return;
  const missed = seconds > deadlineSeconds || (status >= 500 && status !== 504);
  metrics.inc("deadline_misses_total", { model, engine }, missed ? 1 : 0);
}
