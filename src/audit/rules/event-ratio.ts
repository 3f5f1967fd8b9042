import { isRefuted, priorAround, rateInterval } from "../../compare/statistics/rate-sequence.ts";
import { spendingShare, type Epochs } from "../epochs.ts";
import type { Tally } from "../epochs.ts";
import type { RateName } from "../evidence.ts";
import { conclude, type Finding, type Rule } from "./rule.ts";

/** Share of inputs on which the decision differs from the reference's. */
export const flipRatio: Rule = eventRatio("flipRatio", "flip");
/** Share of inputs on which the outputs are outside the tolerance, or invalid. */
export const divergence: Rule = eventRatio("divergence", "outside");
/** Share of inputs on which the engine failed. */
export const errorRatio: Rule = eventRatio("errorRatio", "error");

function eventRatio(name: "flipRatio" | "divergence" | "errorRatio", rate: RateName): Rule {
  return {
    name,
    statistical: true,
    // 1 in 1,000, unless the policy says otherwise.
    threshold: 0.001,
    applies: ({ isReference }) => rate === "error" || !isReference,
    readsPairs: () => false,
    judge: (evidence, { threshold, alpha }) =>
      conclude(rateFindings(evidence.rates[rate], threshold, alpha), {
        rule: name,
        threshold,
        alpha,
        unit: "blocks",
        source: rate !== "error" ? "comparison" : evidence.counts.live > 0 ? "live" : "shadow",
      }),
  };
}

/** Three quarters of alpha on the whole, one on all epochs together. */
export function rateFindings(
  tallies: Pick<Epochs<Tally>, "whole" | "recent" | "epoch">,
  threshold: number,
  alpha: number,
): [Finding, Finding] {
  const { whole, recent, epoch } = tallies;
  return [
    rateFinding("whole", whole, threshold, alpha * 0.75),
    rateFinding("recent", recent, threshold, alpha * 0.25 * spendingShare(epoch)),
  ];
}

function rateFinding(
  scope: Finding["scope"],
  { events, n }: Tally,
  threshold: number,
  alpha: number,
): Finding {
  const prior = priorAround(threshold);
  const value = events / n;
  return {
    scope,
    value,
    have: n,
    ...rateInterval(events, n, alpha, prior),
    // Whichever side of the estimate it is on: the bound on that side has passed it.
    decidedAt: (more, rate) => isRefuted(rate, { events: n === 0 ? 0 : value * more, n: more, alpha, prior }),
  };
}
