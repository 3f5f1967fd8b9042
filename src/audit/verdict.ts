import type { RuleName } from "../models/manifest.ts";
import { spendingShare } from "./epochs.ts";
import type { Evidence } from "./evidence.ts";
import { deadlineMissRatio } from "./rules/deadline-miss-ratio.ts";
import { deviceHealth } from "./rules/device-health.ts";
import { divergence, errorRatio, flipRatio } from "./rules/event-ratio.ts";
import { jitterRatio, latencyP99Ratio, pairedSlowdown } from "./rules/pair-ratio.ts";
import type { JudgeOptions, Rule, Verdict } from "./rules/rule.ts";

/**
 * The verdict of every rule that applies to an engine. Valid however often it is asked: over all rules, epochs and
 * restarts, an engine that keeps to every threshold fails with probability alpha at most (design.md, Audit).
 */
export function judge(evidence: Evidence, options: JudgeOptions): Verdict[] {
  return [...judgements(evidence, options)];
}

/** The same one after another, for who has something else to do in between: each may take some 0.2 ms. */
export function* judgements(evidence: Evidence, options: JudgeOptions): Generator<Verdict> {
  const wanted: NonNullable<JudgeOptions["rules"]> =
    options.rules ?? ruleList.map(({ name }) => ({ rule: name }));
  const chosen = wanted.flatMap(({ rule, threshold }) => {
    const found = rules[rule];
    return found.applies(options) ? [{ found, threshold: threshold ?? found.threshold }] : [];
  });
  const tests = wanted.reduce((sum, { rule }) => sum + testsOf(rules[rule], options), 0);
  for (const { found, threshold } of chosen) {
    const { restarts, pairs } = evidence;
    const share = spendingShare(found.readsPairs(options.role) ? pairs.restarts : restarts);
    const alpha = (options.alpha * share) / Math.max(1, tests);
    yield found.judge(evidence, { ...options, threshold, alpha });
  }
}

const roles = ["active", "canary", "candidate"] as const;

/** How often alpha is spent on a rule in the life of an engine, whose evidence outlives its role: once for each source. */
function testsOf(rule: Rule, options: JudgeOptions): number {
  if (!rule.statistical) return 0;
  const played = roles.filter((role) => rule.applies({ ...options, role }));
  return new Set(played.map((role) => rule.readsPairs(role))).size;
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
