import type { Verdict } from "../rules/rule.ts";
import type { Outcome, ReportEngine, ReportPair, ReportVerdict } from "./schema.ts";

/** fail when one fails, inconclusive when one is open, else pass; inconclusive without any. */
export function worst(outcomes: readonly Outcome[]): Outcome {
  if (outcomes.includes("fail")) return "fail";
  return outcomes.length === 0 || outcomes.includes("inconclusive") ? "inconclusive" : "pass";
}

/** The verdict on everything that was judged, with one sentence. */
export function concludeReport(engines: readonly ReportEngine[]): {
  verdict: Outcome;
  verdictReason: string;
} {
  const judged = engines.filter((engine) => engine.verdict !== null);
  const verdict = worst(judged.map((engine) => engine.verdict as Outcome));
  return { verdict, verdictReason: reasonOf(verdict, judged) };
}

/** What an audit observes, by the source that the same rule reads live. There each of them is a block by itself. */
const observed = {
  live: "requests",
  shadow: "pairs",
  comparison: "inputs",
  device: "device",
} as const;

/** A rule's verdict in an audit's words: nothing is live there, and what was counted is no block of time. */
export function toOfflineVerdict(verdict: Verdict): ReportVerdict {
  const source = observed[verdict.source];
  const unit = source === "device" ? verdict.unit : source;
  return { ...verdict, source, unit, reason: verdict.reason.replaceAll(` ${verdict.unit}`, ` ${unit}`) };
}

/** A verdict on decisions says so where they could not be read: more inputs of that kind would not decide it. */
export function explainUndecided(verdict: ReportVerdict, pair: ReportPair | undefined): ReportVerdict {
  const why = pair?.undecidedReason ?? null;
  if (pair === undefined || why === null || verdict.rule !== "flipRatio") return verdict;
  const { decided, samples } = pair;
  if (decided === 0)
    return { ...verdict, need: null, reason: `none of ${samples} decisions could be read: ${why}` };
  const unread = `${samples - decided} of ${samples} decisions could not be read: ${why}`;
  return { ...verdict, reason: `${verdict.reason}; ${unread}` };
}

function reasonOf(verdict: Outcome, judged: readonly ReportEngine[]): string {
  const speaking = judged.filter((engine) => engine.verdict === verdict);
  switch (verdict) {
    case "pass":
      return `${names(judged.map(({ id }) => id))}: every requirement is met`;
    case "fail":
      return speaking.map((engine) => `${engine.id} fails ${rulesOf(engine, "fail")}`).join("; ");
    case "inconclusive":
      if (judged.length === 0) return "nothing was judged";
      return `${speaking.map((engine) => `${engine.id}: ${rulesOf(engine, "inconclusive")} undecided`).join("; ")}; ${needed(speaking)}`;
    default:
      return verdict satisfies never;
  }
}

function rulesOf({ verdicts }: ReportEngine, verdict: Outcome): string {
  return (
    names(verdicts.filter((one) => one.verdict === verdict).map(({ rule }) => rule)) || "its requirements"
  );
}

function needed(engines: readonly ReportEngine[]): string {
  const open = engines.flatMap(({ verdicts }) => verdicts.filter(isOpen));
  const most = Math.max(0, ...open.map(({ need }) => need ?? 0));
  if (open.some(({ need }) => need === null))
    return "more observations alone do not decide all of them, see the Statement";
  return `at present values at most ${most} more observations decide`;
}

function isOpen({ verdict }: ReportVerdict): boolean {
  return verdict === "inconclusive";
}

function names(list: readonly string[]): string {
  return list.join(", ");
}
