import type { RuleName } from "../../models/manifest.ts";
import type { Evidence } from "../evidence.ts";

/** What a judgement is asked for. */
export interface JudgeOptions {
  /**
   * Active and canary engines answer clients: live samples make the absolute claims. A candidate has the shadow alone;
   * candidate and canary are judged against the active engine too.
   */
  readonly role: "active" | "canary" | "candidate";
  /** The engine is the reference itself: nothing to differ from. */
  readonly isReference: boolean;
  /** model.yaml has deadlineMs. */
  readonly hasDeadline: boolean;
  /** For all rules of one candidate together; policy.alpha. */
  readonly alpha: number;
  /** policy.rules; default: every rule with its own threshold. */
  readonly rules?:
    | readonly { readonly rule: RuleName; readonly threshold?: number | undefined }[]
    | undefined;
}

/** One rule: what it looks at, and when it passes. */
export interface Rule {
  readonly name: RuleName;
  /** Takes a share of alpha. */
  readonly statistical: boolean;
  /** Largest value that passes, where the policy names none. */
  readonly threshold: number;
  applies(options: JudgeOptions): boolean;
  /** It looks at pairs with the control, which begin anew more often than the rest. */
  readsPairs(role: JudgeOptions["role"]): boolean;
  judge(evidence: Evidence, options: RuleOptions): Verdict;
}

interface RuleOptions extends Pick<JudgeOptions, "role"> {
  readonly threshold: number;
  /** This rule's share. */
  readonly alpha: number;
}

/** Plain JSON: null where a number is not known, or is infinite. */
export interface Verdict {
  readonly rule: RuleName;
  /** fail: lower > threshold. pass: upper <= threshold. Else inconclusive. */
  readonly verdict: "pass" | "fail" | "inconclusive";
  readonly value: number | null;
  readonly threshold: number;
  readonly lower: number | null;
  readonly upper: number | null;
  /** Observations so far, in `unit`. */
  readonly have: number;
  /** How many more at the present estimate; 0 when decided, null when no number would settle it. */
  readonly need: number | null;
  readonly unit: "blocks" | "samples";
  /** What this rule may spend on false alarms. */
  readonly alpha: number;
  readonly source: "live" | "shadow" | "comparison" | "device";
  /** The part of the evidence that decided. */
  readonly scope: "whole" | "recent" | "afterIdle";
  /** One sentence. */
  readonly reason: string;
}

/** A bound of one part of the evidence, before it becomes words. */
export interface Finding {
  readonly scope: Verdict["scope"];
  readonly value: number;
  readonly lower: number;
  readonly upper: number;
  readonly have: number;
  /** Whether n observations would settle it, were the present estimate exact. Asked for some thirty n each time. */
  readonly decidedAt: (n: number, threshold: number) => boolean;
}

/** A part that has so many times the observations of the whole: of pairs, those after pauses where hardly any other came. */
const nearlyAll = 10;

/**
 * The verdict of a rule over its findings, each with an alpha of its own: a part that fails, fails the rule; otherwise the
 * first one, the whole of the evidence, speaks. (Idle pauses may never come, so they can fail an engine but are not needed
 * to pass it; a model that is seldom asked has next to nothing else, and there they speak.)
 */
export function conclude(
  findings: readonly [Finding, ...Finding[]],
  rule: Pick<Verdict, "rule" | "threshold" | "unit" | "alpha" | "source">,
): Verdict {
  const failing = findings.find(({ lower }) => lower > rule.threshold);
  const [whole] = findings;
  const finding = failing ?? findings.find(({ have }) => have > nearlyAll * whole.have) ?? whole;
  const verdict = failing !== undefined ? "fail" : finding.upper <= rule.threshold ? "pass" : "inconclusive";
  const need = verdict === "inconclusive" ? projectedNeed(finding, rule.threshold) : 0;
  return {
    ...rule,
    verdict,
    value: finite(finding.value),
    lower: finite(finding.lower),
    upper: finite(finding.upper),
    have: finding.have,
    need,
    scope: finding.scope,
    reason: words(verdict, finding, rule, need),
  };
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Observations still to come until a bound clears the threshold; null beyond a hundred million. */
function projectedNeed({ have, decidedAt }: Finding, threshold: number): number | null {
  const decided = (n: number) => decidedAt(n, threshold);
  let high = Math.max(16, have);
  while (!decided(high)) {
    high *= 2;
    if (high > 1e8) return null;
  }
  let low = have;
  while (high - low > Math.max(1, high * 1e-3)) {
    const middle = Math.floor((low + high) / 2);
    if (decided(middle)) high = middle;
    else low = middle;
  }
  return Math.max(1, high - have);
}

const scopes = { whole: "", recent: " in the latest epoch", afterIdle: " after idle pauses" };

function words(
  verdict: Verdict["verdict"],
  { value, lower, upper, scope, have }: Finding,
  { threshold, unit }: Pick<Verdict, "threshold" | "unit">,
  need: number | null,
): string {
  const figure = (x: number) => (Number.isFinite(x) ? String(Number(x.toPrecision(3))) : "unknown");
  if (verdict === "fail")
    return `at least ${figure(lower)}${scopes[scope]}, above the threshold ${threshold} (${have} ${unit})`;
  if (verdict === "pass")
    return `at most ${figure(upper)}${scopes[scope]}, within the threshold ${threshold} (${have} ${unit})`;
  const more =
    need === null
      ? "no number of samples would settle it at the present value"
      : `needs ${need} more ${unit}`;
  return `${figure(value)}, between ${figure(lower)} and ${figure(upper)}, threshold ${threshold}${scopes[scope]}: ${more}`;
}
