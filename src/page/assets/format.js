/** Numbers as people read them; every one carries its unit or stands below a heading that does. */

const dash = "–";

/**
 * Milliseconds, without the unit.
 *
 * @param {number | undefined} seconds
 * @param {number} decimals the same in a whole table, so that points align
 */
export function milliseconds(seconds, decimals) {
  return seconds === undefined ? dash : (seconds * 1000).toFixed(decimals);
}

/** Decimals at which the smallest of these times still shows two or three digits. @param {readonly number[]} seconds */
export function decimalsFor(seconds) {
  const smallest = Math.min(...seconds.filter((value) => value > 0)) * 1000;
  return smallest < 1 ? 3 : smallest < 100 ? 2 : 1;
}

/** @param {number | undefined} seconds */
export function time(seconds) {
  if (seconds === undefined) return dash;
  if (seconds === 0) return "0";
  return seconds < 1e-3
    ? `${digits(seconds * 1e6)} µs`
    : seconds < 1
      ? `${digits(seconds * 1e3)} ms`
      : `${digits(seconds)} s`;
}

/** Three significant digits. @param {number} value */
export function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(1).replace("e+", "e").replace(".0e", "e");
  return size >= 100 ? whole(value) : String(Number(value.toPrecision(3)));
}

/** @param {number} value */
export function whole(value) {
  return Math.round(value).toLocaleString("en");
}

/** @param {number} count @param {string} noun @param {string} [nouns] */
export function plural(count, noun, nouns = `${noun}s`) {
  return `${whole(count)} ${count === 1 ? noun : nouns}`;
}

/** @param {number | undefined} ratio */
export function percent(ratio) {
  return ratio === undefined ? dash : `${digits(ratio * 100)} %`;
}

/** @param {number | undefined} ratio */
export function times(ratio) {
  return ratio === undefined || !Number.isFinite(ratio) ? dash : `${ratio.toFixed(2)}×`;
}

/** @param {number | undefined} count */
export function bytes(count) {
  if (count === undefined || count === 0) return dash;
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${(count / 1e6).toFixed(0)} MB`;
}

/** Local time; with the date when it is another day's. @param {string} iso */
export function clock(iso) {
  const date = new Date(iso);
  const hours = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString()
    ? hours
    : `${date.toLocaleDateString("en-CA")} ${hours}`;
}

/** @param {string} iso */
export function ago(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

/** Who asked: a trigger and a name, once where they are the same word. @param {string} trigger @param {string} actor */
export function by(trigger, actor) {
  return trigger === actor ? trigger : `${trigger}, ${actor}`;
}

/** What a rule asks, and how its numbers read. @type {Readonly<Record<string, { words: string, kind: "times" | "share" }>>} */
export const rules = {
  deadlineMissRatio: { words: "Deadline misses", kind: "share" },
  latencyP99Ratio: { words: "p99 against control", kind: "times" },
  jitterRatio: { words: "Jitter against control", kind: "times" },
  pairedSlowdown: { words: "Slower, pair by pair", kind: "times" },
  flipRatio: { words: "Decisions changed", kind: "share" },
  divergence: { words: "Outside the tolerance", kind: "share" },
  errorRatio: { words: "Errors", kind: "share" },
  deviceHealth: { words: "Device throttled", kind: "share" },
};

/** @param {string} rule @param {number | null} value */
export function ruleValue(rule, value) {
  if (value === null) return dash;
  return rules[rule]?.kind === "times" ? times(value) : percent(value);
}
