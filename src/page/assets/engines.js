import { attribute, byId, inside, keep, make, write } from "./dom.js";
import { bytes, decimalsFor, milliseconds, percent, time, times } from "./format.js";

/**
 * @import { Engine, LatencyRole, Model, Summary } from "./types.js"
 * @typedef {{ engine: Engine, at: number, role: LatencyRole, first: boolean, summary: Summary | undefined }} Row
 */

/** How the runs of a row were made. */
const measured = { active: "live", control: "control", shadow: "shadow" };
const longReason = 100;
const columns = ["50", "90", "99", "99.9", "100"];

/** One row an engine, and for the active one a second: its control runs, which the candidates are compared with. */
export function createEngines({ onSwitch }) {
  const table = byId("engines");
  const body = inside(table, "tbody");
  const scaleElement = byId("stripScale");

  return {
    /** @param {Model} model */
    render(model) {
      const rows = rowsOf(model);
      const summaries = rows.flatMap(({ summary }) => summary ?? []);
      const decimals = decimalsFor(summaries.flatMap(({ percentiles }) => percentiles["50"] ?? []));
      const scale = scaleOf(summaries);
      const control = controlOf(model);
      renderScale(scaleElement, scale);
      keep(
        body,
        rows,
        ({ engine, role }) => `${model.model}/${engine.id}/${role}`,
        (row) => createRow(row),
        (element, row) => updateRow(element, row, { model, decimals, scale, control }),
      );
    },
  };

  /** @param {Row} row */
  function createRow({ engine, role, first }) {
    const cell = (
      /** @type {string} */ label,
      /** @type {string} */ className = "",
      /** @type {Node[]} */ ...children
    ) => make("td", { role: "cell", "data-label": label, class: className }, ...children);
    const name = make(
      "th",
      { scope: "row", role: "rowheader", class: "name" },
      make("span", { class: "swatch", "aria-hidden": "true" }),
      make("span", { class: "id", text: engine.id }),
      make("small"),
    );
    const button = make("button", { type: "button", class: "small", text: "Switch to" });
    button.setAttribute("aria-label", `Switch to ${engine.id}`);
    button.addEventListener("click", () => onSwitch(engine.id));
    return make(
      "tr",
      { role: "row", class: first ? "first" : "again" },
      name,
      cell("Role, state, share", "role", make("span"), make("small")),
      cell("Measured", "measured", make("span", measured[role]), make("small")),
      ...columns.map((p) => cell(p === "100" ? "max, ms" : `p${p}, ms`, `number p${p.replace(".", "_")}`)),
      cell("PDV, ms", "number pdv"),
      cell("IPDV, ms", "number ipdv"),
      cell("p99 ÷ control", "number ratio"),
      cell("Distribution", "wide", createStrip()),
      cell("Memory", "number memory"),
      cell("", "do", button),
    );
  }

  /**
   * @param {HTMLElement} element
   * @param {Row} row
   * @param {{ model: Model, decimals: number, scale: Scale, control: Summary | undefined }} view
   */
  function updateRow(element, { engine, at, role, first, summary }, { model, decimals, scale, control }) {
    const part = (/** @type {string} */ selector) => inside(element, selector);
    attribute(element, "data-role", first ? engine.role : "control");
    attribute(element, "data-series", String(at % 8));
    attribute(part(".swatch"), "data-dashed", role === "control" ? "" : undefined);
    const reference = engine.id === model.reference ? " · reference" : "";
    write(
      part(".name small"),
      first
        ? `${[engine.compiler, engine.precision].filter(Boolean).join(" ")}${reference}`
        : "the same, in the shadow",
    );
    write(part(".role span"), first ? engine.role : "");
    attribute(part(".role"), "data-role", first ? engine.role : undefined);
    write(part(".role small"), first ? stateOf(engine) : "");
    // A long reason scrolls in its place, for the keyboard too.
    attribute(
      part(".role small"),
      "tabindex",
      first && (engine.reason?.length ?? 0) > longReason ? "0" : undefined,
    );
    attribute(part(".role small"), "data-tone", first ? toneOf(engine.state) : undefined);
    write(part(".measured small"), summary ? `${summary.count.toLocaleString("en")} runs` : "no runs");
    for (const p of columns)
      write(part(`.p${p.replace(".", "_")}`), milliseconds(summary?.percentiles[p], decimals));
    write(part(".pdv"), milliseconds(summary?.jitter.pdv, decimals));
    write(part(".ipdv"), milliseconds(summary?.jitter.ipdv, decimals));
    write(part(".ratio"), role === "shadow" ? times(ratio(summary, control)) : "");
    updateStrip(part(".strip"), summary, scale);
    write(part(".memory"), first ? bytes(engine.residentBytes) : "");
    part("button").hidden = !first || engine.id === model.active;
  }
}

/** How it is, why, and how much of the live traffic it gets. @param {Engine} engine */
function stateOf({ state, reason, share = 0 }) {
  return [state, reason, share > 0 ? percent(share) : ""].filter(Boolean).join(" · ");
}

/** What candidates are compared with: the active engine's runs in the shadow. @param {Model} model */
export function controlOf(model) {
  return model.engines.find(({ id }) => id === model.active)?.latency?.control;
}

/** p99 over control's p99. @param {Summary | undefined} summary @param {Summary | undefined} control */
export function ratio(summary, control) {
  const own = summary?.percentiles["99"];
  const other = control?.percentiles["99"];
  return own === undefined || !other ? undefined : own / other;
}

/** @param {string} state */
export function toneOf(state) {
  return { ready: "good", failed: "bad", quarantined: "bad", loading: "warn" }[state];
}

/** @param {Model} model @returns {Row[]} */
function rowsOf(model) {
  const place = { active: 0, candidate: 1, standby: 2, none: 3 };
  return model.engines
    .map((engine, at) => ({ engine, at }))
    .sort((a, b) => (place[a.engine.role] ?? 4) - (place[b.engine.role] ?? 4))
    .flatMap(
      /** @returns {Row[]} */ ({ engine, at }) => {
        const { active, control, shadow } = engine.latency ?? {};
        if (engine.id !== model.active) {
          // A canary answers clients too; its shadow runs are what compares.
          return [{ engine, at, role: "shadow", first: true, summary: shadow }];
        }
        /** @type {Row} */
        const live = { engine, at, role: "active", first: true, summary: active };
        return control ? [live, { engine, at, role: "control", first: false, summary: control }] : [live];
      },
    );
}

/** @typedef {{ place: (seconds: number) => number, from: number, to: number } | undefined} Scale in percent of the width */

/** One logarithmic scale for all rows, so that they can be compared by eye. @param {readonly Summary[]} summaries @returns {Scale} */
function scaleOf(summaries) {
  const least = Math.min(
    ...summaries.map(({ spread }) => spread["0"] ?? Infinity).filter((value) => value > 0),
  );
  const most = Math.max(...summaries.map(({ percentiles }) => percentiles["100"] ?? 0));
  if (!(least < Infinity && most > 0)) return undefined;
  const from = Math.log(least / 1.05);
  const to = Math.log(most * 1.05);
  const place = (/** @type {number} */ seconds) =>
    Math.min(100, Math.max(0, ((Math.log(Math.max(seconds, 1e-9)) - from) / (to - from)) * 100));
  return { place, from: Math.exp(from), to: Math.exp(to) };
}

/** 1, 2 and 5 of each decade that fit. @param {HTMLElement} element @param {Scale} scale */
function renderScale(element, scale) {
  /** @type {number[]} */
  const ticks = [];
  if (scale) {
    const wide = scale.to / scale.from > 60;
    for (let decade = 1e-7; decade < 1e3; decade *= 10)
      for (const step of wide ? [1] : [1, 2, 5]) {
        const at = scale.place(decade * step);
        if (at > 2 && at < 96) ticks.push(decade * step);
      }
  }
  keep(
    element,
    ticks,
    (tick) => tick.toPrecision(1),
    (tick) => make("span", time(Number(tick.toPrecision(1)))),
    (span, tick) => {
      span.style.left = `${scale?.place(tick) ?? 0}%`;
    },
  );
}

function createStrip() {
  const part = (/** @type {string} */ name) => make("span", { class: name });
  return make(
    "div",
    { class: "strip", role: "img" },
    part("p1"),
    part("p5"),
    part("p25"),
    part("p999"),
    part("max"),
    part("median"),
  );
}

/** @param {HTMLElement} strip @param {Summary | undefined} summary @param {Scale} scale */
function updateStrip(strip, summary, scale) {
  strip.hidden = !summary || !scale;
  if (!summary || !scale) return;
  const at = { ...summary.percentiles, ...summary.spread };
  const band = (/** @type {string} */ name, /** @type {string} */ low, /** @type {string} */ high) => {
    const { style } = inside(strip, name);
    const [left, right] = [scale.place(at[low] ?? 0), scale.place(at[high] ?? 0)];
    style.left = `${left}%`;
    style.width = `${right - left}%`;
  };
  band(".p1", "1", "99");
  band(".p5", "5", "95");
  band(".p25", "25", "75");
  for (const [name, p] of [
    [".median", "50"],
    [".p999", "99.9"],
    [".max", "100"],
  ])
    inside(strip, String(name)).style.left = `${scale.place(at[String(p)] ?? 0)}%`;
  const words = [
    ["0", "fastest"],
    ["25", "p25"],
    ["50", "median"],
    ["75", "p75"],
    ["99", "p99"],
    ["99.9", "p99.9"],
    ["100", "slowest"],
  ]
    .map(([p, word]) => `${word} ${time(at[String(p)])}`)
    .join(", ");
  attribute(strip, "aria-label", words);
}
