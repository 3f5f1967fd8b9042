import { attribute, byId, byKind, inside, keep, make, write } from "./dom.js";
import { digits, time as seconds } from "./format.js";

/**
 * @import { Model, Point, Series } from "./types.js"
 * @typedef {{
 *   series: readonly Series[],
 *   columns: (number | null)[][],
 *   logarithmic: boolean,
 *   format: (value: number) => string,
 *   limit: { value: number, words: string } | undefined,
 *   nothing: string,
 * }} Picture
 */

const height = 190;
/** Where a 0 is drawn on a logarithmic scale: this far below the smallest value there is. */
const belowLeast = 0.1;

/** Lines over the last 10 minutes: the latency of every engine, and how far each is from the reference. */
export function createCharts() {
  const latency = createChart(byId("latency"));
  const divergence = createChart(byId("divergence"));
  const select = byKind(HTMLSelectElement, "metric");
  /** @type {() => void} */
  let again = () => {};
  byId("percentile").addEventListener("change", () => again());
  select.addEventListener("change", () => again());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => again());

  return {
    /** @param {Model} model @param {readonly Point[]} points */
    render(model, points) {
      again = () => {
        const times = points.map(({ time }) => time);
        latency(times, latencyPicture(model, points));
        offer(select, metricsOf(model));
        divergence(times, divergencePicture(model, points, select.value));
      };
      again();
    },
  };
}

const latencyRoles = [
  { role: "active", words: "live", width: 2.25 },
  { role: "control", words: "control", width: 1.5, dash: [5, 4] },
  { role: "shadow", words: "shadow", width: 1.5 },
];

/** @param {Model} model @param {readonly Point[]} points @returns {Picture} */
function latencyPicture(model, points) {
  const chosen = inside(byId("percentile"), "input:checked");
  const percentile = chosen instanceof HTMLInputElement ? chosen.value : "99";
  const seen = new Set(points.flatMap(({ latency }) => Object.keys(latency)));
  const series = model.engines.flatMap(({ id }, at) =>
    latencyRoles
      .map(({ role, words, ...style }) => ({
        key: `${id}/${role}`,
        label: `${id}, ${words}`,
        color: colorOf(at),
        ...style,
      }))
      .filter(({ key }) => seen.has(key)),
  );
  const deadline = model.deadlineMs === null ? undefined : model.deadlineMs / 1000;
  return {
    series,
    columns: series.map(({ key }) => points.map(({ latency }) => latency[key]?.[percentile] ?? null)),
    logarithmic: false,
    format: seconds,
    limit: deadline === undefined ? undefined : { value: deadline, words: "deadline" },
    nothing: "Nothing has run yet.",
  };
}

/** @param {Model} model @param {readonly Point[]} points @param {string} chosen `metric/output` @returns {Picture} */
function divergencePicture(model, points, chosen) {
  const engines = model.engines.flatMap(({ id, divergence }, at) => (divergence?.length ? [{ id, at }] : []));
  const [metric = "", ...rest] = chosen.split("/");
  const output = rest.join("/");
  const limits = model.limits.find((each) => each.output === output);
  const limit = {
    max_abs: limits?.abs,
    cosine: limits?.cosine === undefined ? undefined : 1 - limits.cosine,
  }[metric];
  return {
    series: engines.map(({ id, at }) => ({ label: id, color: colorOf(at), width: 1.75 })),
    columns: engines.map(({ id }) => points.map(({ divergence }) => divergence[id]?.[chosen] ?? null)),
    logarithmic: true,
    format: digits,
    limit: limit ? { value: limit, words: "tolerance" } : undefined,
    nothing: "Nothing was compared yet.",
  };
}

const metricWords = {
  max_abs: "largest difference",
  max_rel: "largest relative difference",
  ulp: "largest, in representable steps",
  cosine: "1 − cosine similarity",
  kl: "KL divergence, nats",
};

/** @param {Model} model */
function metricsOf(model) {
  const keys = new Map();
  for (const { divergence = [] } of model.engines)
    for (const { output, metric } of divergence)
      keys.set(`${metric}/${output}`, `${output}: ${metricWords[metric] ?? metric}`);
  return [...keys].map(([value, text]) => ({ value, text }));
}

/** @param {HTMLSelectElement} select @param {{ value: string, text: string }[]} options */
function offer(select, options) {
  attribute(select, "hidden", options.length === 0 ? "" : undefined);
  keep(
    select,
    options,
    ({ value }) => value,
    ({ value, text }) => make("option", { value, text }),
    () => {},
  );
}

/**
 * One chart: the lines, below them a table that says the same in words and serves as legend.
 *
 * @param {HTMLElement} figure
 */
function createChart(figure) {
  const place = inside(figure, ".plot");
  const caption = inside(figure, "figcaption");
  const legend = make(
    "table",
    { class: "legend" },
    make("caption", { class: "hidden", text: "Newest values" }),
    make("tbody"),
  );
  const words = make("p", { class: "empty" });
  caption.append(words, legend);
  /** @type {any} */
  let plot;
  let shape = "";
  /** @type {Picture} */
  let picture;

  new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height })).observe(place);

  return (/** @type {number[]} */ times, /** @type {Picture} */ drawn) => {
    picture = drawn;
    const some = drawn.columns.some((column) => column.some((value) => value !== null));
    const least = Math.min(...drawn.columns.flat().map((value) => (value ? value : Infinity)));
    const flat = drawn.logarithmic && some && least === Infinity;
    place.hidden = !some || flat;
    write(
      words,
      some ? (flat ? "Bit-equal to the reference throughout: every difference is 0." : "") : drawn.nothing,
    );
    renderLegend(legend, drawn);
    if (place.hidden) return;
    const colors = { text: css("--muted"), line: css("--line"), limit: css("--bad") };
    const wanted = JSON.stringify([drawn.series, drawn.logarithmic, colors]);
    if (wanted !== shape) {
      plot?.destroy();
      // @ts-ignore uPlot is a classic script, served beside this module.
      plot = new uPlot(
        optionsOf(drawn, place.clientWidth, colors, () => picture),
        undefined,
        place,
      );
      shape = wanted;
    }
    const floor = least * belowLeast;
    plot.setData([
      times,
      ...drawn.columns.map((column) =>
        drawn.logarithmic ? column.map((y) => (y === 0 ? floor : y)) : column,
      ),
    ]);
    attribute(place, "aria-label", describe(figure, drawn, times));
  };
}

/** @param {HTMLElement} legend @param {Picture} picture */
function renderLegend(legend, { series, columns, format }) {
  keep(
    inside(legend, "tbody"),
    series.map((each, at) => ({ ...each, value: columns[at]?.at(-1) })),
    ({ label }) => label,
    ({ label }) =>
      make(
        "tr",
        {},
        make(
          "th",
          { scope: "row" },
          make("span", { class: "key", "aria-hidden": "true" }),
          make("span", { text: label }),
        ),
        make("td", { class: "number" }),
      ),
    (row, { value, color, dash, width }) => {
      const key = inside(row, ".key");
      key.style.borderTopColor = color;
      key.style.borderTopWidth = `${width > 2 ? 3 : 2}px`;
      key.style.borderTopStyle = dash ? "dashed" : "solid";
      write(inside(row, "td"), value === null || value === undefined ? "–" : format(value));
    },
  );
}

/** The chart in a sentence. @param {HTMLElement} figure @param {Picture} picture @param {number[]} times */
function describe(figure, { series, columns, format }, times) {
  const minutes = Math.max(1, Math.round(((times.at(-1) ?? 0) - (times[0] ?? 0)) / 60));
  const lines = series.map(({ label }, at) => {
    const values = (columns[at] ?? []).filter((value) => value !== null);
    const last = values.at(-1);
    if (last === undefined) return `${label}: no value`;
    return `${label}: ${format(last)} now, between ${format(Math.min(...values))} and ${format(Math.max(...values))}`;
  });
  const title = figure.closest("section")?.querySelector("h2")?.textContent ?? "";
  return `${title}, last ${minutes} min. ${lines.join(". ")}`;
}

/**
 * @param {Picture} picture
 * @param {number} width
 * @param {{ text: string, line: string, limit: string }} colors
 * @param {() => Picture} current
 */
function optionsOf({ series, logarithmic, format }, width, { text, line, limit }, current) {
  const axis = {
    stroke: text,
    font: "11px system-ui, sans-serif",
    grid: { stroke: line, width: 1 },
    ticks: { show: false },
  };
  return {
    width,
    height,
    padding: [10, 8, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    series: [
      {},
      ...series.map(({ color, dash, width }) => ({
        stroke: color,
        width,
        dash,
        points: { show: false },
        spanGaps: false,
      })),
    ],
    scales: {
      y: logarithmic
        ? { distr: 3, range: (_plot, low, high) => withLimit(logRange(low, high), current()) }
        : { range: (_plot, _low, high) => withLimit([0, high > 0 ? high * 1.08 : 1], current()) },
    },
    axes: [
      { ...axis, space: 70, values: (_plot, ticks) => ticks.map(clockOf) },
      {
        ...axis,
        size: 62,
        space: 34,
        values: (plot, ticks) => ticks.map((tick) => (tick === null ? "" : format(tick))),
        ...(logarithmic && {
          filter: (_plot, ticks) => decades(ticks),
          grid: { ...axis.grid, filter: (_plot, ticks) => decades(ticks) },
        }),
      },
    ],
    hooks: { draw: [(plot) => drawLimit(plot, current().limit, limit, text)] },
  };
}

/** Whole decades around the values. @param {number} low @param {number} high @returns {[number, number]} */
function logRange(low, high) {
  return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.01))];
}

/**
 * The limit is shown where it says something: when the values come near it.
 *
 * @param {[number, number]} range
 * @param {Picture} picture
 */
function withLimit([low, high], { limit, logarithmic }) {
  if (!limit) return [low, high];
  const near = logarithmic ? limit.value < high * 1e4 : limit.value < high * 1.5;
  return [low, near ? Math.max(high, limit.value * (logarithmic ? 2 : 1.08)) : high];
}

/** Powers of ten, not more than fit. @param {(number | null)[]} ticks */
function decades(ticks) {
  const powers = ticks.map((tick) => (tick !== null && Math.abs(Math.log10(tick) % 1) < 1e-6 ? tick : null));
  const count = powers.filter((tick) => tick !== null).length;
  const step = Math.ceil(count / 5);
  let at = 0;
  return powers.map((tick) => (tick !== null && at++ % step === 0 ? tick : null));
}

function drawLimit(plot, limit, color, text) {
  if (!limit) return;
  const y = plot.valToPos(limit.value, "y", true);
  const { left, top, width, height: tall } = plot.bbox;
  if (!(y >= top && y <= top + tall)) return;
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.fillStyle = text;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  ctx.fillText(limit.words, left + width - 4 * devicePixelRatio, y - 2 * devicePixelRatio);
  ctx.restore();
}

/** @param {number} unixSeconds */
function clockOf(unixSeconds) {
  const date = new Date(unixSeconds * 1000);
  return date.toLocaleTimeString(
    "en-GB",
    date.getSeconds() === 0 ? { hour: "2-digit", minute: "2-digit" } : {},
  );
}

/** Colours of engines, in their order; page.css holds them for light and dark. @param {number} at */
function colorOf(at) {
  return css(`--series-${at % 8}`);
}

/** @param {string} name */
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
