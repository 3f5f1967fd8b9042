import type { Policy } from "../models/manifest.ts";

/**
 * Life of a candidate: observing -> eligible -> canary -> promoted (it is active) -> watch (nothing else is promoted)
 * -> settled; a failed rule leads to rolledBack (from live traffic) and quarantined.
 */
export type CandidateState =
  | "observing"
  | "eligible"
  | "canary"
  | "promoted"
  | "watch"
  | "settled"
  | "rolledBack"
  | "quarantined";

/** A rule's verdict as far as a decision needs it; the whole of it goes into the log. */
export interface RuleVerdict {
  readonly rule: string;
  readonly verdict: "pass" | "fail" | "inconclusive";
  readonly have: number;
  /** Bound above its value, where it has one. */
  readonly upper?: number | null;
}

/** One engine of a model at the moment of a decision. Times are monotonic seconds. */
export interface EngineEvidence {
  readonly id: string;
  readonly state: CandidateState;
  /** When it entered its state. */
  readonly sinceSeconds: number;
  readonly verdicts: readonly RuleVerdict[];
  /** Checks in a row that ended so. */
  readonly failures: number;
  readonly inconclusives: number;
  /** Index in policy.canary.steps; only in state canary. */
  readonly canaryStep: number;
  /** Live requests it answered since this canary step began. */
  readonly canarySamples: number;
  /** A roll-back that nothing could take over from is not tried again before. */
  readonly nextRollBackSeconds: number;
  /** It was held as a canary, and is none again until then. */
  readonly canaryFromSeconds: number;
  /** It was active, and a switch has put another engine in its place. */
  readonly left: boolean;
  /** What was last advised about it, where decisions are advice only. */
  readonly advised: string;
  /**
   * The reference, by which flips are told, or the standby, while another engine is active: what a roll-back goes to
   * is not taken out for being slower than what it goes back from.
   */
  readonly needed: boolean;
}

export interface DecisionInput {
  readonly nowSeconds: number;
  readonly policy: Policy;
  readonly active: EngineEvidence;
  readonly candidates: readonly EngineEvidence[];
  /** Without a reference nothing says whether an engine's outputs are right, however fast it is. */
  readonly hasReference: boolean;
  /** Where a roll-back goes: the last good active engine, else the reference; undefined when neither can serve. */
  readonly fallback: string | undefined;
  /** The cooldown after a switch keeps automatic promotion away until then. */
  readonly pausedUntilSeconds: number;
  /** A person has switched: what they chose is not undone until then. */
  readonly heldUntilSeconds: number;
  /** When earlier automatic switches were made. */
  readonly switchSeconds: readonly number[];
}

export type Action =
  | { readonly type: "none"; readonly reason: string }
  | { readonly type: "eligible"; readonly engine: string; readonly reason: string }
  | { readonly type: "canary"; readonly engine: string; readonly step: number; readonly reason: string }
  | { readonly type: "promote"; readonly engine: string; readonly reason: string }
  | { readonly type: "watch"; readonly engine: string; readonly reason: string }
  | { readonly type: "settle"; readonly engine: string; readonly reason: string }
  | { readonly type: "hold"; readonly engine: string; readonly reason: string }
  | { readonly type: "quarantine"; readonly engine: string; readonly reason: string }
  | { readonly type: "rollBack"; readonly engine: string; readonly to: string; readonly reason: string };

const hourSeconds = 3600;

/**
 * The next action for one model: a pure function of evidence and policy. Safety first: a bad active engine, then bad
 * candidates, then a canary under way, then the next one. One action a call keeps each decision explainable by itself.
 */
export function decide(input: DecisionInput): Action {
  const { policy, nowSeconds, heldUntilSeconds } = input;
  if (policy.mode === "off") return { type: "none", reason: "policy mode is off" };
  if (policy.mode === "automatic" && !policy.dryRun && nowSeconds < heldUntilSeconds)
    return (
      beginWatch(input) ?? {
        type: "none",
        reason: `switched by hand; held for another ${Math.ceil(heldUntilSeconds - nowSeconds)} s (cooldownSeconds ${policy.cooldownSeconds})`,
      }
    );
  return judgeActive(input) ?? judgeCandidates(input) ?? advanceCanary(input) ?? promoteNext(input);
}

/** From the first look after a switch on; the watch then lasts for watchSeconds. */
function beginWatch({ active, policy }: DecisionInput): Action | undefined {
  if (active.state !== "promoted") return undefined;
  return { type: "watch", engine: active.id, reason: `active now; watched for ${policy.watchSeconds} s` };
}

function judgeActive(input: DecisionInput): Action | undefined {
  const { policy, active, nowSeconds } = input;
  const failed = failing(active);
  const to = whereBack(input);
  const isSaid = isAdviceOnly(policy) && active.advised === "rollBack";
  if (isBad(input) && !isSaid && to !== undefined)
    return {
      type: "rollBack",
      engine: active.id,
      to,
      reason: `active engine fails ${failed.join(", ")} (${active.failures} checks in a row, failureLimit ${policy.failureLimit})`,
    };
  if (
    active.state === "watch" &&
    nowSeconds - active.sinceSeconds >= policy.watchSeconds &&
    failed.length === 0
  )
    return {
      type: "settle",
      engine: active.id,
      reason: `no rule failed for ${policy.watchSeconds} s after the switch`,
    };
  return beginWatch(input);
}

/** What would touch traffic is said instead. */
export function isAdviceOnly({ mode, dryRun }: Policy): boolean {
  return mode === "advise" || dryRun;
}

function isBad({ active, policy }: DecisionInput): boolean {
  return failing(active).length > 0 && active.failures > policy.failureLimit;
}

/** Where the active engine can be rolled back to now. */
function whereBack({ active, fallback, nowSeconds }: DecisionInput): string | undefined {
  return fallback !== active.id && nowSeconds >= active.nextRollBackSeconds ? fallback : undefined;
}

function judgeCandidates({ policy, candidates, active }: DecisionInput): Action | undefined {
  for (const candidate of candidates) {
    if (candidate.state === "quarantined" || candidate.state === "rolledBack") continue;
    const failed = takingOut(candidate);
    if (failed.length === 0 || candidate.failures <= policy.failureLimit) continue;
    // Advice is said once; it must not stand in the way of what else is to be said.
    const { advised } = candidate;
    if (isAdviceOnly(policy) && (advised === "quarantine" || advised === "rollBack")) continue;
    const reason = `fails ${failed.join(", ")} (${candidate.failures} checks in a row, failureLimit ${policy.failureLimit})`;
    return candidate.state === "canary"
      ? { type: "rollBack", engine: candidate.id, to: active.id, reason: `canary ${reason}` }
      : { type: "quarantine", engine: candidate.id, reason };
  }
  return undefined;
}

function advanceCanary(input: DecisionInput): Action | undefined {
  const { policy, candidates } = input;
  const canary = candidates.find(({ state }) => state === "canary");
  if (!canary) return undefined;
  if (canary.inconclusives > policy.inconclusiveLimit)
    return {
      type: "hold",
      engine: canary.id,
      reason: `still inconclusive after ${canary.inconclusives} checks (inconclusiveLimit ${policy.inconclusiveLimit})`,
    };
  const slow = failing(canary).filter((rule) => canary.needed && comparative.has(rule));
  if (slow.length > 0)
    return {
      type: "hold",
      engine: canary.id,
      reason: `canary fails ${slow.join(", ")}; reference and standby are not taken out for that`,
    };
  const step = `canary step ${canary.canaryStep + 1} of ${policy.canary.steps.length}`;
  if (canary.canarySamples < policy.minSamples)
    return { type: "none", reason: `${step}: ${canary.canarySamples} of ${policy.minSamples} live samples` };
  const open = canary.verdicts.filter(({ verdict }) => verdict !== "pass");
  if (open.length > 0)
    return {
      type: "none",
      reason: `${step}: ${open.map(({ rule, verdict }) => `${rule} ${verdict}`).join(", ")}`,
    };
  if (canary.canaryStep + 1 < policy.canary.steps.length)
    return {
      type: "canary",
      engine: canary.id,
      step: canary.canaryStep + 1,
      reason: `${step} passed every rule`,
    };
  const blocked = whyNotSwitch(input);
  if (blocked !== undefined) return { type: "none", reason: blocked };
  return { type: "promote", engine: canary.id, reason: "passed every rule in every canary step" };
}

function promoteNext(input: DecisionInput): Action {
  const { policy, candidates, nowSeconds, active } = input;
  const newlyEligible = candidates.find(
    (candidate) => candidate.state === "observing" && ready(candidate, policy, nowSeconds),
  );
  if (newlyEligible)
    return {
      type: "eligible",
      engine: newlyEligible.id,
      reason: `passes ${newlyEligible.verdicts.map(({ rule }) => rule).join(", ")}${input.hasReference ? "" : `; ${withoutReference}`}`,
    };
  const passing = candidates.filter(
    (candidate) => candidate.state === "eligible" && ready(candidate, policy, nowSeconds),
  );
  const eligible = passing.find((candidate) => mayReturn(candidate, active));
  if (!eligible) return { type: "none", reason: whyNoneIsReady(input, passing) };
  if (policy.mode !== "automatic") return { type: "none", reason: `policy mode is ${policy.mode}` };
  // A watch is there to go back from; where that cannot be done, another engine is the only way out.
  const stuck = isBad(input) && whereBack(input) === undefined;
  if (active.state === "watch" && !stuck)
    return { type: "none", reason: "the last switch is still being watched" };
  const blocked = whyNotSwitch(input);
  if (blocked !== undefined) return { type: "none", reason: blocked };
  const wayOut = `; the active engine fails ${failing(active).join(", ")} and there is nothing to roll back to`;
  const reason = `passes every rule in the shadow${stuck ? wayOut : ""}`;
  return { type: "canary", engine: eligible.id, step: 0, reason };
}

const withoutReference =
  "no reference engine says whether its outputs are right, so it is not promoted automatically";

/** Every rule passes on enough samples, and the candidate has been observed for long enough. */
function ready(candidate: EngineEvidence, policy: Policy, nowSeconds: number): boolean {
  const { verdicts } = candidate;
  return (
    verdicts.length > 0 &&
    (candidate.state !== "observing" || nowSeconds - candidate.sinceSeconds >= policy.initialDelaySeconds) &&
    nowSeconds >= candidate.canaryFromSeconds &&
    verdicts.every(({ verdict, have }) => verdict === "pass" && have >= policy.minSamples)
  );
}

/**
 * An engine that was left is no better for passing the rules beside the engine that took its place: of two alike each would
 * be promoted over the other, for ever. It comes back where it is shown to be faster, or where the other fails.
 */
function mayReturn({ left, verdicts }: EngineEvidence, active: EngineEvidence): boolean {
  if (!left || failing(active).length > 0) return true;
  return verdicts.some(({ rule, upper }) => rule === "pairedSlowdown" && (upper ?? Infinity) < 1);
}

function whyNoneIsReady(
  { candidates, active, policy, nowSeconds }: DecisionInput,
  passing: readonly EngineEvidence[],
): string {
  const [left] = passing;
  if (left)
    return `${left.id} passes every rule, but was left for another engine and is not shown to be faster than ${active.id} (pairedSlowdown's upper bound below 1)`;
  const waiting = candidates.find(
    (held) =>
      held.state === "observing" && ready({ ...held, canaryFromSeconds: nowSeconds }, policy, nowSeconds),
  );
  if (!waiting) return "no candidate passes every rule yet";
  return `${waiting.id} passes every rule in the shadow, but was held as a canary; again in ${Math.ceil(waiting.canaryFromSeconds - nowSeconds)} s`;
}

function whyNotSwitch({
  hasReference,
  policy,
  nowSeconds,
  pausedUntilSeconds,
  switchSeconds,
}: DecisionInput): string | undefined {
  if (!hasReference) return withoutReference;
  if (nowSeconds < pausedUntilSeconds)
    return `paused for another ${Math.ceil(pausedUntilSeconds - nowSeconds)} s (cooldownSeconds ${policy.cooldownSeconds})`;
  const lately = switchSeconds.filter((seconds) => nowSeconds - seconds < hourSeconds).length;
  if (lately >= policy.maxSwitchesPerHour)
    return `${lately} switches in the last hour (maxSwitchesPerHour ${policy.maxSwitchesPerHour})`;
  return undefined;
}

/** Of a candidate these tell only how it does beside the active engine: the shadow knows no absolute times. */
const comparative: ReadonlySet<string> = new Set([
  "deadlineMissRatio",
  "latencyP99Ratio",
  "jitterRatio",
  "pairedSlowdown",
]);

type Judged = Pick<EngineEvidence, "verdicts" | "needed">;

export function failing({ verdicts }: Judged): string[] {
  return verdicts.filter(({ verdict }) => verdict === "fail").map(({ rule }) => rule);
}

/** The failed rules that speak for taking an engine out, which may be fewer than keep it from being promoted. */
export function takingOut(engine: Judged): string[] {
  return failing(engine).filter((rule) => !engine.needed || !comparative.has(rule));
}
