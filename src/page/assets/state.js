/**
 * @import { Audit, Decision, Engine, Metrics, Model, Point } from "./types.js"
 */

/** Seconds kept for the charts: 10 minutes. */
const remembered = 600;
const decisionsKept = 200;

/** What the gateway has told so far. */
export function createState() {
  /** @type {Metrics | undefined} */
  let metrics;
  /** @type {Map<string, Audit>} */
  const audits = new Map();
  /** @type {Map<string, Point[]>} */
  const history = new Map();
  /** Newest first. @type {Decision[]} */
  let decisions = [];

  return {
    get metrics() {
      return metrics;
    },
    get decisions() {
      return decisions;
    },
    /** @param {string} name */
    model: (name) => metrics?.models.find(({ model }) => model === name),
    /** @param {string} name @param {string} engine */
    verdicts: (name, engine) => audits.get(name)?.candidates.find((each) => each.engine === engine),
    /** @param {string} name */
    points: (name) => history.get(name) ?? [],
    /** Requests a second and failures, of the last 10 s. @param {string} name */
    rates(name) {
      const points = history.get(name) ?? [];
      const last = points.at(-1);
      const first = points.find(({ time }) => last && last.time - time <= 10.5);
      if (!last || !first || last.time - first.time < 1) return undefined;
      const seconds = last.time - first.time;
      // A gateway that began anew counts from 0.
      const failed = Math.max(0, last.failed - first.failed);
      return { perSecond: Math.max(0, last.succeeded - first.succeeded + failed) / seconds, failed };
    },

    /** @param {Metrics} event */
    takeMetrics(event) {
      metrics = event;
      const time = Date.parse(event.time) / 1000;
      const names = new Set(event.models.map(({ model }) => model));
      for (const name of history.keys()) if (!names.has(name)) history.delete(name);
      for (const model of event.models) {
        const points = history.get(model.model) ?? [];
        history.set(model.model, points);
        points.push(pointOf(model, time));
        if (points.length > remembered) points.shift();
      }
    },
    /** Between two seconds: who serves now, and how the engines are. @param {any} event */
    takeState(event) {
      const model = metrics?.models.find(({ model }) => model === event.model);
      if (!model) return;
      const { engine, engines, ...rest } = event;
      if (engine) Object.assign(model.engines.find(({ id }) => id === engine.id) ?? {}, engine);
      if (engines) {
        const known = new Map(model.engines.map((each) => [each.id, each]));
        model.engines = engines.map((/** @type {Engine} */ each) => ({ ...known.get(each.id), ...each }));
      }
      Object.assign(model, rest);
    },
    /** @param {Audit} event */
    takeVerdict(event) {
      audits.set(event.model, event);
    },
    /** One more, or all there are to know. @param {readonly Decision[]} entries @param {{ all?: boolean }} [how] */
    takeDecisions(entries, { all = false } = {}) {
      const bySeq = new Map([...(all ? [] : decisions), ...entries].map((entry) => [entry.seq, entry]));
      decisions = [...bySeq.values()].sort((a, b) => b.seq - a.seq).slice(0, decisionsKept);
    },
    /** After which entry the log's newest ones begin. */
    get logAfter() {
      return Math.max(0, (metrics?.lastDecision ?? 0) - decisionsKept);
    },
    /** The log has grown unseen. */
    get logBehind() {
      return (metrics?.lastDecision ?? 0) > (decisions[0]?.seq ?? 0);
    },
  };
}

/** @param {Model} model @param {number} time @returns {Point} */
function pointOf({ engines, requests, active }, time) {
  /** @type {Record<string, Readonly<Record<string, number>>>} */
  const latency = {};
  /** @type {Record<string, Record<string, number>>} */
  const divergence = {};
  for (const engine of engines) {
    for (const [role, summary] of Object.entries(engine.latency ?? {})) {
      // The window of a role that a switch has ended would go on for 5 minutes; its line ends with it.
      const runs = {
        active: (engine.share ?? 0) > 0,
        control: engine.id === active,
        shadow: engine.id !== active,
      };
      if (runs[role]) latency[`${engine.id}/${role}`] = summary.percentiles;
    }
    if (!engine.divergence?.length) continue;
    divergence[engine.id] = Object.fromEntries(
      engine.divergence.map(({ output, metric, p99 }) => [
        `${metric}/${output}`,
        metric === "cosine" ? 1 - p99 : p99,
      ]),
    );
  }
  return { time, latency, divergence, ...requests };
}
