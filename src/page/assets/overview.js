import { attribute, byId, figures, inside, keep, make, write } from "./dom.js";
import { controlOf, ratio } from "./engines.js";
import { ago, by, clock, percent, plural, rules, time, times, whole } from "./format.js";

/**
 * @import { Decision, Engine, Model, Verdict } from "./types.js"
 * @typedef {(name: string, engine: string) => { state: string, verdicts: readonly Verdict[] } | undefined} FindVerdicts
 */

/** The five seconds: who serves, whether it is well, what the candidates are like, what was decided last and why. */
export function createOverview() {
  return {
    /**
     * @param {Model} model
     * @param {{ verdicts: FindVerdicts, rates: { perSecond: number, failed: number } | undefined, decision: Decision | undefined, since: Decision | undefined }} facts
     */
    render(model, { verdicts, rates, decision, since }) {
      write(byId("modelName"), model.model);
      write(byId("active"), model.active || "no engine");
      const health = healthOf(model, verdicts(model.model, model.active)?.verdicts ?? [], rates);
      write(byId("health"), health.words);
      attribute(byId("health"), "data-tone", health.tone);
      renderFigures(model, rates, since);
      renderCandidates(model, verdicts);
      renderDecision(decision);
    },
  };
}

/**
 * @param {Model} model
 * @param {readonly Verdict[]} verdicts on the active engine
 * @param {{ perSecond: number, failed: number } | undefined} rates
 * @returns {{ tone: string, words: string }}
 */
export function healthOf(model, verdicts, rates) {
  const engine = model.engines.find(({ id }) => id === model.active);
  if (model.state === "failed" || !engine)
    return { tone: "bad", words: `Not serving: ${model.reason ?? model.state}` };
  if (model.state !== "ready")
    return { tone: "warn", words: [model.state, model.reason].filter(Boolean).join(": ") };
  if (engine.state === "failed" || engine.state === "quarantined")
    return { tone: "bad", words: [engine.state, engine.reason].filter(Boolean).join(": ") };
  const failed = verdicts.filter(({ verdict }) => verdict === "fail");
  if (failed.length > 0)
    return {
      tone: "bad",
      words: `Fails: ${failed.map(({ rule }) => (rules[rule]?.words ?? rule).toLowerCase()).join(", ")}`,
    };
  if (rates && rates.failed > 0)
    return { tone: "warn", words: `${plural(rates.failed, "request")} failed in the last 10 s` };
  const open = verdicts.filter(({ verdict }) => verdict === "inconclusive").length;
  if (open > 0)
    return {
      tone: "good",
      words: `Healthy so far; ${plural(open, "rule needs", "rules need")} more evidence`,
    };
  return { tone: "good", words: "Healthy: every rule passes" };
}

/**
 * @param {Model} model
 * @param {{ perSecond: number, failed: number } | undefined} rates
 * @param {Decision | undefined} since the switch that made it active
 */
function renderFigures(model, rates, since) {
  const live = model.engines.find(({ id }) => id === model.active)?.latency?.active?.percentiles;
  const failed = rates?.failed ?? 0;
  figures(byId("figures"), [
    ["p50", time(live?.["50"])],
    ["p99", time(live?.["99"])],
    ...(model.deadlineMs === null ? [] : [/** @type {const} */ (["deadline", `${model.deadlineMs} ms`])]),
    ["requests", rates ? `${rates.perSecond.toFixed(1)}/s` : "–"],
    ["failed (10 s)", whole(failed), failed > 0 ? "warn" : undefined],
    ["waiting", whole(model.queueLength)],
    ["policy", model.policy],
    ...(since ? [/** @type {const} */ (["serves since", clock(since.time)])] : []),
  ]);
}

/** @param {Model} model @param {FindVerdicts} verdicts */
function renderCandidates(model, verdicts) {
  const candidates = model.engines
    .map((engine, at) => ({ engine, at }))
    .filter(({ engine }) => engine.id !== model.active && engine.role !== "none");
  const control = controlOf(model);
  const list = byId("candidates");
  attribute(
    list,
    "data-empty",
    candidates.length === 0 ? "None: there is no other engine to compare." : undefined,
  );
  keep(
    list,
    candidates,
    ({ engine }) => `${model.model}/${engine.id}`,
    ({ engine }) =>
      make(
        "li",
        {},
        make("span", { class: "swatch", "aria-hidden": "true" }),
        make("strong", engine.id),
        make("span", { class: "state" }),
        make("span", { class: "against" }),
        make("span", { class: "tally" }),
      ),
    (li, { engine, at }) => {
      const judged = verdicts(model.model, engine.id);
      const tally = tallyOf(judged?.verdicts ?? []);
      attribute(inside(li, ".swatch"), "data-series", String(at % 8));
      write(inside(li, ".state"), stateOf(engine, judged?.state));
      write(
        inside(li, ".against"),
        against(engine, ratio(engine.latency?.shadow, control), engine.id === model.reference),
      );
      write(inside(li, ".tally"), tally.words);
      attribute(inside(li, ".tally"), "data-tone", tally.tone);
    },
  );
}

/** @param {Engine} engine @param {string | undefined} judged */
function stateOf({ state, reason, role, share }, judged) {
  if (state !== "ready") return [state, reason].filter(Boolean).join(": ");
  return [judged ?? role, share ? `${percent(share)} of requests` : ""].filter(Boolean).join(", ");
}

/** @param {Engine} engine @param {number | undefined} slower @param {boolean} isReference */
function against({ counts, undecidedReason }, slower, isReference) {
  const latency = `p99 ${times(slower)} control's`;
  if (isReference) return `${latency} · the reference of the others`;
  if (!counts || counts.comparisons === 0) return `${latency} · nothing compared yet`;
  const { comparisons, undecided } = counts;
  const equal = counts.bitEqual === comparisons ? ", bit-equal" : "";
  if (undecided === comparisons) {
    const why = undecidedReason ? `: ${undecidedReason}` : "";
    return `${latency} · decisions not read${equal}${why}`;
  }
  const flips = counts.flips === 0 ? "no flips" : plural(counts.flips, "flip");
  const unread = undecided > 0 ? `, ${plural(undecided, "decision")} not read` : "";
  return `${latency} · ${flips} in ${whole(comparisons - undecided)}${equal}${unread}`;
}

/** @param {readonly Verdict[]} verdicts */
export function tallyOf(verdicts) {
  const count = (/** @type {string} */ wanted) => verdicts.filter(({ verdict }) => verdict === wanted).length;
  const [passed, failed, open] = [count("pass"), count("fail"), count("inconclusive")];
  if (verdicts.length === 0) return { tone: undefined, words: "not judged" };
  if (failed > 0) {
    const names = verdicts
      .filter(({ verdict }) => verdict === "fail")
      .map(({ rule }) => rules[rule]?.words ?? rule);
    return { tone: "bad", words: `fails: ${names.join(", ").toLowerCase()}` };
  }
  if (open === 0) return { tone: "good", words: `passes all ${passed} rules` };
  const needs = verdicts.flatMap(({ verdict, need }) =>
    verdict === "inconclusive" && need !== null ? [need] : [],
  );
  const more = needs.length > 0 ? `, ${whole(Math.max(...needs))} more blocks` : "";
  return { tone: "warn", words: `${passed} of ${verdicts.length} rules pass, ${open} open${more}` };
}

/** @param {Decision | undefined} decision */
function renderDecision(decision) {
  const parent = byId("lastDecision");
  keep(
    parent,
    decision ? [decision] : [],
    ({ seq, hash }) => `${seq} ${hash}`,
    ({ seq, type, from, to, reason, trigger, actor, hash, time: at }) =>
      make(
        "div",
        {},
        make("p", { class: "what" }, make("strong", type), make("span", ` ${movement(from, to)}`)),
        make("p", { class: "why", text: reason }),
        make(
          "p",
          { class: "when" },
          make("time", { datetime: at }),
          make(
            "span",
            ` · ${type === "advice" ? "nothing was changed · " : ""}by ${by(trigger, actor)} · no. ${seq} `,
          ),
          make("code", hash.slice(0, 8)),
        ),
      ),
    (element, { time: at }) => write(inside(element, "time"), `${clock(at)}, ${ago(at)}`),
  );
  attribute(
    parent,
    "data-empty",
    decision ? undefined : "None yet: nothing was switched since the log began.",
  );
}

/** @param {string | null} from @param {string | null} to */
export function movement(from, to) {
  if (from !== null && to !== null) return `${from} → ${to}`;
  return from ?? to ?? "";
}
