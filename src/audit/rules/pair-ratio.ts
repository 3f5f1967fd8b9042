import type { LogHistogram } from "../../compare/statistics/log-histogram.ts";
import { quantileInterval, quantileRanks } from "../../compare/statistics/quantile-sequence.ts";
import type { Interval } from "../../compare/statistics/rate-sequence.ts";
import { spendingShare } from "../epochs.ts";
import type { Evidence } from "../evidence.ts";
import type { PairTally } from "../pair-tally.ts";
import { conclude, type Finding, type Rule } from "./rule.ts";

/** p99 of the candidate's latency over the control's, on the same inputs. */
export const latencyP99Ratio: Rule = pairRule("latencyP99Ratio", 1.2, (tally, alpha) =>
  quantileRatio(tally.candidate, tally.control, 0.99, alpha),
);

/** p99 of |x_i - x_(i-1)|, candidate over control. What both do within 50 us counts as no jitter. */
export const jitterRatio: Rule = pairRule("jitterRatio", 1.5, (tally, alpha) =>
  quantileRatio(tally.candidateJitter, tally.controlJitter, 0.99, alpha, 50e-6),
);

/**
 * Median of candidate / control over pairs. Its bounds are e-process R2 (audit-metrics B5), inverted: the lower bound
 * is above a ratio r when "the candidate is slower than r times the control in at most half of the pairs" is refuted.
 */
export const pairedSlowdown: Rule = pairRule("pairedSlowdown", 1.05, (tally, alpha) => ({
  value: tally.ratio.quantile(0.5),
  have: tally.ratio.count,
  ...quantileInterval(tally.ratio, 0.5, alpha),
  decidedAt: (n, threshold) => decides(projected(tally.ratio, 0.5, alpha, n), threshold),
}));

type Measure = (tally: PairTally, alpha: number) => Omit<Finding, "scope">;

function pairRule(
  name: "latencyP99Ratio" | "jitterRatio" | "pairedSlowdown",
  defaultThreshold: number,
  measure: Measure,
): Rule {
  return {
    name,
    statistical: true,
    threshold: defaultThreshold,
    applies: ({ role }) => role !== "active",
    readsPairs: () => true,
    judge: (evidence, { threshold, alpha }) =>
      conclude(pairFindings(evidence, alpha, measure), {
        rule: name,
        threshold,
        alpha,
        unit: "blocks",
        source: "shadow",
      }),
  };
}

/** Half of alpha on the whole, a quarter on all epochs together, a quarter on what follows idle pauses. */
function pairFindings({ pairs }: Evidence, alpha: number, measure: Measure): [Finding, ...Finding[]] {
  const { steady, afterIdle } = pairs;
  return [
    { scope: "whole", ...measure(steady.whole, alpha / 2) },
    { scope: "recent", ...measure(steady.recent, (alpha / 4) * spendingShare(steady.epoch)) },
    { scope: "afterIdle", ...measure(afterIdle, alpha / 4) },
  ];
}

/** Bound against bound: each engine's quantile has half of alpha. */
function quantileRatio(
  candidate: LogHistogram,
  control: LogHistogram,
  p: number,
  alpha: number,
  floor = 0,
): Omit<Finding, "scope"> {
  const ratio = (above: number, below: number) => Math.max(above, floor) / Math.max(below, floor);
  const bounds = (a: Interval, b: Interval) => ({
    lower: ratio(a.lower, b.upper),
    upper: b.lower === 0 && floor === 0 ? Infinity : ratio(a.upper, b.lower),
  });
  return {
    value: ratio(candidate.quantile(p), control.quantile(p)),
    have: candidate.count,
    ...bounds(quantileInterval(candidate, p, alpha / 2), quantileInterval(control, p, alpha / 2)),
    decidedAt: (n, threshold) =>
      decides(bounds(projected(candidate, p, alpha / 2, n), projected(control, p, alpha / 2, n)), threshold),
  };
}

function decides({ lower, upper }: Interval, threshold: number): boolean {
  return lower > threshold || upper <= threshold;
}

/** The interval at n observations, were the distribution seen so far the true one; both engines alike before any. */
function projected(histogram: LogHistogram, p: number, alpha: number, n: number): Interval {
  const ranks = quantileRanks(n, p, alpha);
  if (histogram.count === 0)
    return {
      lower: ranks.lower === undefined ? 0 : 1,
      upper: ranks.upper === undefined ? Infinity : 1,
    };
  const scaled = (rank: number) =>
    Math.min(histogram.count, Math.max(1, Math.ceil((rank / n) * histogram.count)));
  return {
    lower: ranks.lower === undefined ? 0 : histogram.lowerEdge(scaled(ranks.lower)),
    upper: ranks.upper === undefined ? Infinity : histogram.upperEdge(scaled(ranks.upper)),
  };
}
