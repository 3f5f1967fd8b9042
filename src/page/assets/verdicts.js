import { attribute, byId, inside, keep, make, write } from "./dom.js";
import { digits, plural, rules, ruleValue, whole } from "./format.js";
import { tallyOf } from "./overview.js";

/**
 * @import { Model, Verdict } from "./types.js"
 * @import { FindVerdicts } from "./overview.js"
 */

const labels = { pass: "pass", fail: "fail", inconclusive: "open" };

/** A table of rules for each engine that is judged: where the truth can lie, the threshold, what is still needed. */
export function createVerdicts() {
  const parent = byId("verdicts");

  return {
    /** @param {Model} model @param {FindVerdicts} find */
    render(model, find) {
      const judged = model.engines
        .flatMap((engine, at) => {
          const found = find(model.model, engine.id);
          return found && found.verdicts.length > 0
            ? [{ engine, at, state: found.state, verdicts: found.verdicts }]
            : [];
        })
        // Candidates first: they are what is being decided on.
        .sort((a, b) => Number(a.engine.id === model.active) - Number(b.engine.id === model.active));
      attribute(
        parent,
        "data-empty",
        judged.length === 0 ? "Nothing is judged yet: that begins with the first requests." : undefined,
      );
      keep(
        parent,
        judged,
        ({ engine }) => `${model.model}/${engine.id}`,
        ({ engine }) => createTable(engine.id),
        (section, { engine, at, state, verdicts }) => {
          const tally = tallyOf(verdicts);
          attribute(inside(section, ".swatch"), "data-series", String(at % 8));
          write(inside(section, ".state"), engine.id === model.active ? "active" : state);
          write(inside(section, ".tally"), tally.words);
          attribute(inside(section, ".tally"), "data-tone", tally.tone);
          keep(inside(section, "tbody"), verdicts, ({ rule }) => rule, createRow, updateRow);
        },
      );
    },
  };
}

/** @param {string} engine */
function createTable(engine) {
  const column = (/** @type {string} */ text, /** @type {string} */ className = "") =>
    make("th", { scope: "col", text, class: className });
  return make(
    "section",
    { class: "verdict", "aria-label": `Verdicts on ${engine}` },
    make(
      "h3",
      {},
      make("span", { class: "swatch", "aria-hidden": "true" }),
      make("span", { class: "id", text: engine }),
      make("span", { class: "state" }),
      make("span", { class: "tally" }),
    ),
    make(
      "table",
      { class: "cards" },
      make("caption", { class: "hidden", text: `Rules, evidence and verdicts on ${engine}` }),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          column("Rule"),
          column("Verdict"),
          column("Evidence against the threshold", "wide"),
          column("Value", "number"),
          column("Bounds", "number"),
          column("Threshold", "number"),
          column("n", "number"),
          column("α", "number"),
          column("Source"),
        ),
      ),
      make("tbody"),
    ),
  );
}

/** @param {Verdict} verdict */
function createRow({ rule }) {
  const cell = (
    /** @type {string} */ label,
    /** @type {string} */ className,
    /** @type {Node[]} */ ...children
  ) => make("td", { role: "cell", "data-label": label, class: className }, ...children);
  return make(
    "tr",
    { role: "row" },
    make(
      "th",
      { scope: "row", role: "rowheader", class: "rule" },
      make("span", rules[rule]?.words ?? rule),
      make("code", rule),
    ),
    cell("Verdict", "verdictCell", make("span", { class: "chip" }), make("span", { class: "need" })),
    cell(
      "Evidence",
      "wide",
      make(
        "div",
        { class: "interval", role: "img" },
        make("span", { class: "beyond" }),
        make("span", { class: "bounds" }),
        make("span", { class: "value" }),
        make("span", { class: "threshold" }),
      ),
      make("div", { class: "progress", "aria-hidden": "true" }, make("span")),
      make("p", { class: "reason" }),
    ),
    cell("Value", "number v"),
    cell("Bounds", "number b"),
    cell("Threshold", "number t"),
    cell("n", "number n"),
    cell("α", "number a"),
    cell("Source", "s"),
  );
}

/** @param {HTMLElement} row @param {Verdict} verdict */
function updateRow(row, verdict) {
  const { rule, value, threshold, lower, upper, have, need, unit, alpha, source, reason } = verdict;
  const part = (/** @type {string} */ selector) => inside(row, selector);
  const known = upper !== null || (lower ?? 0) > 0;
  const bounds = known
    ? `${ruleValue(rule, lower)} to ${upper === null ? "∞" : ruleValue(rule, upper)}`
    : "–";
  write(part(".chip"), labels[verdict.verdict]);
  attribute(part(".chip"), "data-verdict", verdict.verdict);
  write(part(".need"), needWords(verdict));
  write(part(".reason"), reason);
  write(part(".v"), ruleValue(rule, value));
  write(part(".b"), bounds);
  write(part(".t"), ruleValue(rule, threshold));
  write(part(".n"), whole(have));
  write(part(".a"), alpha > 0 ? digits(alpha) : "–");
  write(part(".s"), source);

  // The threshold stands in the middle of every bar: left of it is allowed.
  const full = threshold > 0 ? threshold * 2 : Math.max(value ?? 0, upper ?? 0, 1e-9);
  const place = (/** @type {number} */ x) => Math.min(100, Math.max(0, (x / full) * 100));
  const from = place(lower ?? 0);
  const to = place(upper ?? Infinity);
  part(".bounds").hidden = !known;
  part(".bounds").style.left = `${from}%`;
  part(".bounds").style.width = `${Math.max(0.5, to - from)}%`;
  attribute(part(".bounds"), "data-open", upper === null || upper > full ? "" : undefined);
  part(".value").hidden = value === null;
  part(".value").style.left = `${place(value ?? 0)}%`;
  part(".threshold").style.left = `${place(threshold)}%`;
  part(".beyond").style.left = `${place(threshold)}%`;
  attribute(part(".interval"), "data-verdict", verdict.verdict);
  attribute(
    part(".interval"),
    "aria-label",
    `value ${ruleValue(rule, value)}, bounds ${bounds}, threshold ${ruleValue(rule, threshold)}`,
  );
  const progress = part(".progress");
  progress.hidden = verdict.verdict !== "inconclusive" || need === null;
  inside(progress, "span").style.width = `${(100 * have) / Math.max(1, have + (need ?? 0))}%`;
  attribute(row, "data-unit", unit);
}

/** @param {Verdict} verdict */
function needWords({ verdict, need, unit }) {
  if (verdict !== "inconclusive") return "";
  return need === null
    ? "cannot be settled at this value"
    : `needs ${plural(need, `more ${unit.replace(/s$/, "")}`, `more ${unit}`)}`;
}
