import { clopperPearsonUpper } from "../../compare/statistics/clopper-pearson.ts";
import { createDeadlineCounter } from "../../compare/statistics/deadline.ts";
import { earlyStopping } from "../../compare/statistics/early-stopping.ts";
import { quantileUpperBound } from "../../compare/statistics/order-statistic.ts";
import { finite } from "../report/figures.ts";
import type { ReportEngine } from "../report/schema.ts";

/**
 * Outcomes in order against a deadline: misses with their bound, runs of misses, (m, k), margin. What was not answered
 * (null) is a miss.
 */
export function realTimeFigures(
  outcomes: readonly (number | null)[],
  deadlineSeconds: number | undefined,
): ReportEngine["realTime"] {
  if (deadlineSeconds === undefined || outcomes.length === 0) return null;
  const times = outcomes.map((seconds) => seconds ?? Infinity);
  const counter = createDeadlineCounter();
  for (const seconds of times) counter.add(seconds > deadlineSeconds);
  const { requests, misses, missRatio, longestRun, mostInWindow, window } = counter.result();
  const p99Upper = quantileUpperBound(Float64Array.from(times).sort(), 0.99, 0.95);
  const answered = outcomes.filter((seconds) => seconds !== null);
  return {
    deadlineSeconds,
    requests,
    misses,
    missRatio,
    missUpperBoundRatio: clopperPearsonUpper(misses, requests, 0.95),
    boundRequests: requests,
    longestMissRun: longestRun,
    mostMissesInWindow: mostInWindow,
    windowRequests: window,
    highWaterMarkSeconds:
      answered.length === 0 ? null : answered.reduce((most, seconds) => Math.max(most, seconds), 0),
    marginRatio: finite(p99Upper === undefined ? null : (deadlineSeconds - p99Upper) / deadlineSeconds),
    certifiedP99: earlyStopping({ over: misses, within: requests - misses, percentile: 0.99 }).passed,
  };
}
