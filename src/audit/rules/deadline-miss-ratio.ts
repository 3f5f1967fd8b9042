import { lnPairedEProcess } from "../../compare/statistics/rate-sequence.ts";
import type { Evidence } from "../evidence.ts";
import { rateFindings } from "./event-ratio.ts";
import { conclude, type Finding, type Rule } from "./rule.ts";

/**
 * Share of requests answered after the model's deadline. Live samples make the absolute claim. A candidate that has
 * none is judged by the misses it would add: pairs in which it is late and the control is not. Those are held against
 * it only when such pairs also outnumber their opposites, a comparison that bursts and loads common to both cannot
 * disturb.
 */
export const deadlineMissRatio: Rule = {
  name: "deadlineMissRatio",
  statistical: true,
  threshold: 0.01,
  applies: ({ hasDeadline }) => hasDeadline,
  readsPairs: (role) => role === "candidate",
  judge(evidence, { threshold, alpha, role }) {
    const rule = { rule: "deadlineMissRatio", threshold, alpha, unit: "blocks" } as const;
    if (role !== "candidate")
      return conclude(rateFindings(evidence.rates.liveMiss, threshold, alpha), { ...rule, source: "live" });
    const [whole, recent] = rateFindings(evidence.pairs.addedMiss, threshold, alpha);
    const held = isLaterThanControl(evidence, alpha)
      ? ([whole, recent] as const)
      : ([excused(whole), excused(recent)] as const);
    return conclude(held, { ...rule, source: "shadow" });
  },
};

function isLaterThanControl({ pairs: { discordant } }: Evidence, alpha: number): boolean {
  return lnPairedEProcess(discordant.candidateLate, discordant.controlLate) >= -Math.log(alpha);
}

function excused(finding: Finding): Finding {
  const { value, decidedAt } = finding;
  return {
    ...finding,
    lower: 0,
    decidedAt: (n, threshold) => !(value > threshold) && decidedAt(n, threshold),
  };
}
