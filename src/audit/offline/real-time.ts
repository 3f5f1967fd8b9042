import { clopperPearsonUpper } from "../../compare/statistics/clopper-pearson.ts";
import { createDeadlineCounter } from "../../compare/statistics/deadline.ts";
import { earlyStopping } from "../../compare/statistics/early-stopping.ts";
import type { ReportEngine } from "../report/schema.ts";

/** Times in order against a deadline: misses with their bound, runs of misses, (m, k), margin. */
export function realTimeFigures(
  series: readonly number[],
  deadlineSeconds: number | undefined,
  p99UpperBoundSeconds: number | null,
): ReportEngine["realTime"] {
  if (deadlineSeconds === undefined || series.length === 0) return null;
  const counter = createDeadlineCounter();
  for (const seconds of series) counter.add(seconds > deadlineSeconds);
  const { requests, misses, missRatio, longestRun, mostInWindow, window } = counter.result();
  return {
    deadlineSeconds,
    requests,
    misses,
    missRatio,
    missUpperBoundRatio: clopperPearsonUpper(misses, requests, 0.95),
    longestMissRun: longestRun,
    mostMissesInWindow: mostInWindow,
    windowRequests: window,
    highWaterMarkSeconds: series.reduce((most, seconds) => Math.max(most, seconds), 0),
    marginRatio:
      p99UpperBoundSeconds === null ? null : (deadlineSeconds - p99UpperBoundSeconds) / deadlineSeconds,
    certifiedP99: earlyStopping({ over: misses, within: requests - misses, percentile: 0.99 }).passed,
  };
}
