import { createActions } from "./actions.js";
import { get } from "./api.js";
import { createCharts } from "./charts.js";
import { createConnection } from "./connection.js";
import { createDecisions } from "./decisions.js";
import { createDevices } from "./devices.js";
import { attribute, byId, inside, keep, make, write } from "./dom.js";
import { createDoor } from "./door.js";
import { createEngines } from "./engines.js";
import { clock } from "./format.js";
import { createOverview, healthOf, movement } from "./overview.js";
import { createState } from "./state.js";
import { createVerdicts } from "./verdicts.js";

/** @import { Decision, Model } from "./types.js" */

const state = createState();
const overview = createOverview();
const engines = createEngines({
  onSwitch: (/** @type {string} */ to) => withModel((model) => actions.switch(model, to)),
});
const charts = createCharts();
const verdicts = createVerdicts();
const decisions = createDecisions();
const devices = createDevices();
const actions = createActions({
  verdicts: (model, engine) => state.verdicts(model, engine)?.verdicts ?? [],
  onDone: notice,
});
const door = createDoor({
  onOpened: () => connection.open(),
  onLeft: () => location.reload(),
});
const connection = createConnection({ onEvent: take, onStatus: showStatus, onRefused: refused });

/** @type {"connecting" | "live" | "lost" | "refused"} */
let status = "connecting";
/** Reading the log, or having read it in vain: not twice at once. */
let readingLog = false;
let logKnown = false;
let drawn = false;

/** @param {string} kind @param {any} data */
function take(kind, data) {
  switch (kind) {
    case "metrics":
      state.takeMetrics(data);
      if (!logKnown || state.logBehind) void readLog();
      break;
    case "state":
      state.takeState(data);
      break;
    case "verdict":
      state.takeVerdict(data);
      // Figures follow at once; drawing twice a second helps nobody.
      return;
    case "decision":
      state.takeDecisions([data]);
      announce(data);
      break;
  }
  draw();
}

async function readLog() {
  if (readingLog) return;
  readingLog = true;
  try {
    const { entries } = await get(`v1/log?after=${state.logAfter}`);
    state.takeDecisions(entries, { all: true });
    logKnown = true;
    draw();
  } catch {
    // The next figures bring another try.
  } finally {
    readingLog = false;
  }
}

/** Once for all that came in together. */
function draw() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    render();
  });
}

function render() {
  const { metrics } = state;
  if (!metrics) return;
  byId("storeTrouble").hidden = !metrics.storeTrouble;
  write(byId("storeTrouble"), metrics.storeTrouble ? `Store: ${metrics.storeTrouble}` : "");
  renderModels(metrics.models);
  const model = chosen();
  byId("model").hidden = !model;
  byId("empty").hidden = model !== undefined;
  if (!model) {
    write(byId("empty"), "The repository holds no model; compile one with npx crosscheck compile.");
    return;
  }
  const mine = state.decisions.filter(
    (decision) => decision.model === model.model || decision.model === null,
  );
  const rates = state.rates(model.model);
  document.title = `${model.active || "no engine"} · ${model.model} · Crosscheck`;
  overview.render(model, {
    verdicts: state.verdicts,
    rates,
    decision: mine.find((each) => each.model !== null),
    since: mine.find(({ type, to }) => (type === "switch" || type === "rollback") && to === model.active),
  });
  engines.render(model);
  charts.render(model, state.points(model.model));
  verdicts.render(model, state.verdicts);
  decisions.render(mine);
  devices.render(metrics.devices, metrics.board);
}

/** @param {Model[]} models */
function renderModels(models) {
  const nav = byId("models");
  nav.hidden = models.length < 2;
  const current = chosen();
  keep(
    inside(nav, "ul"),
    models,
    ({ model }) => model,
    ({ model }) =>
      make(
        "li",
        {},
        make("a", { href: `#${model}` }, make("span", { class: "name", text: model }), make("small")),
      ),
    (li, model) => {
      const { tone } = healthOf(
        model,
        state.verdicts(model.model, model.active)?.verdicts ?? [],
        state.rates(model.model),
      );
      attribute(inside(li, "a"), "aria-current", model === current ? "page" : undefined);
      attribute(inside(li, "a"), "data-tone", tone);
      write(inside(li, "small"), model.state === "ready" ? model.active : model.state);
    },
  );
}

/** The model that the address names, else the first. */
function chosen() {
  return state.model(location.hash.slice(1)) ?? state.metrics?.models[0];
}

/** @param {(model: Model) => void} act */
function withModel(act) {
  const model = chosen();
  if (model) act(model);
}

/** @param {"live" | "lost"} next */
function showStatus(next) {
  if (next === status) return;
  if (next === "live") {
    door.opened();
    if (status === "lost") {
      // It may be another gateway by now, with another log.
      logKnown = false;
      notice("Connected again.");
    }
  }
  status = next;
  const lost = next === "lost";
  const since = state.metrics ? ` The figures are from ${clock(state.metrics.time)}.` : "";
  write(byId("connection"), lost ? "connection lost" : "live");
  attribute(byId("connection"), "data-state", next);
  byId("lost").hidden = !lost;
  write(byId("lost"), lost ? `Connection lost; trying again.${since}` : "");
  if (lost) notice("Connection lost.", { aloud: true });
  attribute(document.body, "data-stale", lost && state.metrics ? "" : undefined);
}

/** @param {number} code @param {string} words */
function refused(code, words) {
  status = "refused";
  byId("lost").hidden = true;
  attribute(document.body, "data-stale", undefined);
  write(byId("connection"), code === 403 ? "refused" : "signed out");
  attribute(byId("connection"), "data-state", "refused");
  door.ask(code, words);
}

/** Decisions are what a listener should hear of; figures are not. @param {Decision} decision */
function announce({ model, type, from, to, reason }) {
  if (model === chosen()?.model) notice(`${type} ${movement(from, to)}: ${reason}`, { aloud: true });
}

/**
 * @param {string} words
 * @param {{ aloud?: boolean }} [how] aloud: for listeners alone, the page shows it elsewhere
 */
function notice(words, { aloud = false } = {}) {
  byId("notice").classList.toggle("hidden", aloud);
  write(byId("notice"), words);
}

byId("switch").addEventListener("click", () => withModel((model) => actions.switch(model)));
byId("rollback").addEventListener("click", () => withModel((model) => actions.rollback(model)));
addEventListener("hashchange", () => draw());
document.addEventListener("visibilitychange", () => draw());
connection.open();
