import type { RuleName } from "../models/manifest.ts";
import { spendingShare } from "./epochs.ts";
import type { Evidence } from "./evidence.ts";
import { deadlineMissRatio } from "./rules/deadline-miss-ratio.ts";
import { deviceHealth } from "./rules/device-health.ts";
import { divergence, errorRatio, flipRatio } from "./rules/event-ratio.ts";
import { jitterRatio, latencyP99Ratio, pairedSlowdown } from "./rules/pair-ratio.ts";
import type { Rule, Verdict } from "./rules/rule.ts";

/**
 * The verdict of every rule that applies to an engine. Valid however often it is asked: over all rules, epochs and
 * restarts, an engine that keeps to every threshold fails with probability alpha at most (design.md, Audit).
 */
export function judge(evidence: Evidence, options: JudgeOptions): Verdict[] {
  const wanted: NonNullable<JudgeOptions["rules"]> =
    options.rules ?? ruleList.map(({ name }) => ({ rule: name }));
  const chosen = wanted.flatMap(({ rule, threshold }) => {
    const found = rules[rule];
    return found.applies(options) ? [{ found, threshold: threshold ?? found.threshold }] : [];
  });
  const statistical = chosen.filter(({ found }) => found.statistical).length;
  const alpha = (options.alpha * spendingShare(evidence.restarts)) / Math.max(1, statistical);
  return chosen.map(({ found, threshold }) => found.judge(evidence, { ...options, threshold, alpha }));
}

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

const ruleList: readonly Rule[] = [
  deadlineMissRatio,
  latencyP99Ratio,
  jitterRatio,
  pairedSlowdown,
  flipRatio,
  divergence,
  errorRatio,
  deviceHealth,
];

const rules = Object.fromEntries(ruleList.map((rule) => [rule.name, rule])) as Readonly<
  Record<RuleName, Rule>
>;
