import { LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, MarkLineComponent } from "echarts/components";
import { init, use, type EChartsCoreOption } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import { seconds } from "./figures.ts";
import type { Report, ReportEngine } from "./schema.ts";

export interface Picture {
  readonly title: string;
  /** For those who cannot see it, and what to look for. */
  readonly description: string;
  readonly svg: string;
}

/** Colours are variables of the page's style, so that pictures follow light and dark. */
const palette = 8;
export const colourOf = (index: number): string => `var(--series-${(index % palette) + 1})`;

const width = 440;
const height = 290;

use([LineChart, ScatterChart, GridComponent, MarkLineComponent, SVGRenderer]);

/** Distribution, cumulative share and course of the latencies; each only where it is known. */
export function drawPictures(report: Report): Picture[] {
  const timed = report.engines.filter(({ distribution }) => distribution !== null);
  if (timed.length === 0) return [];
  const deadline = report.model.deadlineSeconds;
  const pictures = [
    {
      title: "Distribution",
      description: "Share of requests by latency. One narrow hill is good; two hills are two modes.",
      svg: draw(options(timed, densityOf, { x: "log", yName: "share", deadline })),
    },
    {
      title: "Cumulative",
      description: "Share of requests answered within a time. The farther left and the steeper, the better.",
      svg: draw(options(timed, cumulativeOf, { x: "log", yName: "answered within", deadline })),
    },
  ];
  const series = timed.filter(({ seriesSeconds }) => seriesSeconds !== null && seriesSeconds.length > 1);
  if (series.length === 0) return pictures;
  const stride = Math.max(
    1,
    Math.ceil(Math.max(...series.map((one) => one.seriesSeconds?.length ?? 0)) / mostPoints),
  );
  const each = stride === 1 ? "Every timed request" : `The slowest of each ${stride} requests`;
  return [
    ...pictures,
    {
      title: "Course",
      description: `${each}, in the order measured. Steps and drifts are the machine's or the engine's.`,
      svg: drawCourse(series, stride, deadline),
    },
  ];
}

const mostPoints = 300;

type Points = [number, number][];

/** Twelve buckets an octave: fine enough for two modes, wide enough for a thousand samples. */
function densityOf({ distribution }: ReportEngine): Points {
  const bins = new Map<number, number>();
  let total = 0;
  for (const [i, edge] of (distribution?.upperEdgesSeconds ?? []).entries()) {
    const bin = Math.round(Math.log2(edge) * 12);
    const count = distribution?.counts[i] ?? 0;
    bins.set(bin, (bins.get(bin) ?? 0) + count);
    total += count;
  }
  const used = [...bins.keys()];
  const points: Points = [];
  for (let bin = Math.min(...used) - 1; bin <= Math.max(...used) + 1; bin += 1)
    points.push([2 ** (bin / 12), (bins.get(bin) ?? 0) / total]);
  return points;
}

function cumulativeOf({ distribution }: ReportEngine): Points {
  const counts = distribution?.counts ?? [];
  const total = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  return counts.map((count, i) => {
    below += count;
    return [distribution?.upperEdgesSeconds[i] ?? 0, below / total];
  });
}

function options(
  engines: readonly ReportEngine[],
  points: (engine: ReportEngine) => Points,
  { yName, deadline }: { readonly x: "log"; readonly yName: string; readonly deadline: number | null },
): EChartsCoreOption {
  const all = engines.map(points);
  const xs = all.flat().map(([x]) => x);
  return {
    ...frame,
    xAxis: { ...axis, type: "log", ...niceRange(xs, deadline), axisLabel: { ...label, formatter: tick } },
    yAxis: {
      ...axis,
      type: "value",
      name: yName,
      axisLabel: { ...label, formatter: (y: number) => `${Math.round(y * 100)} %` },
    },
    series: all.map((data, i) => ({
      type: "line",
      data,
      showSymbol: false,
      step: points === cumulativeOf ? "end" : false,
      smooth: points === densityOf ? 0.3 : false,
      lineStyle: { width: 2, color: colourOf(i), type: i < palette ? "solid" : "dashed" },
      ...(i === 0 && deadline !== null ? { markLine: deadlineLine({ xAxis: deadline }) } : {}),
    })),
  };
}

function drawCourse(engines: readonly ReportEngine[], stride: number, deadline: number | null): string {
  const data = engines.map(({ seriesSeconds }) => slowestOfEach(seriesSeconds ?? [], stride));
  const ys = data.flat().map(([, y]) => y);
  return draw({
    ...frame,
    xAxis: {
      ...axis,
      type: "value",
      min: 0,
      name: "request",
      nameLocation: "middle",
      nameGap: 30,
      axisLabel: label,
    },
    yAxis: { ...axis, type: "log", ...niceRange(ys, deadline), axisLabel: { ...label, formatter: tick } },
    series: data.map((points, i) => ({
      type: "scatter",
      data: points,
      symbolSize: 3,
      itemStyle: { color: colourOf(i), opacity: 0.8 },
      ...(i === 0 && deadline !== null ? { markLine: deadlineLine({ yAxis: deadline }) } : {}),
    })),
  });
}

function slowestOfEach(series: readonly number[], stride: number): Points {
  const points: Points = [];
  for (let at = 0; at < series.length; at += stride)
    points.push([at, Math.max(...series.slice(at, at + stride))]);
  return points;
}

/** Whole steps of 1, 2, 5; the deadline is shown when it is not far away. */
function niceRange(values: readonly number[], deadline: number | null): { min: number; max: number } {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const shown = deadline !== null && deadline < high * 20 && deadline > low / 20 ? deadline : high;
  return { min: step(Math.min(low, shown), Math.floor), max: step(Math.max(high, shown) * 1.05, Math.ceil) };
}

function step(value: number, round: (x: number) => number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const part = value / power;
  const steps = [1, 2, 5, 10];
  return (
    power *
    (round === Math.ceil
      ? (steps.find((one) => one >= part) ?? 10)
      : (steps.findLast((one) => one <= part) ?? 1))
  );
}

function deadlineLine(place: { xAxis: number } | { yAxis: number }): object {
  return {
    silent: true,
    symbol: "none",
    lineStyle: { color: "var(--bad)", type: "dashed", width: 1.5 },
    label: { formatter: "deadline", color: "var(--bad)", fontSize: 12, position: "insideEndTop" },
    data: [place],
  };
}

const label = { color: "var(--muted)", fontSize: 13 };
const axis = {
  axisLine: { lineStyle: { color: "var(--line)" } },
  axisTick: { show: false },
  splitLine: { lineStyle: { color: "var(--line)", opacity: 0.6 } },
  minorSplitLine: { show: false },
  nameTextStyle: { color: "var(--muted)", fontSize: 13 },
};
const frame = {
  animation: false,
  backgroundColor: "transparent",
  grid: { left: 8, right: 24, top: 34, bottom: 8, outerBoundsMode: "same", outerBoundsContain: "all" },
};

function tick(value: number): string {
  return seconds(value).replace(/\.0+ /, " ");
}

function draw(option: EChartsCoreOption): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption(option);
    // The size comes from the page, the proportions from viewBox; what a script would look for is of no use.
    return chart
      .renderToSVGString()
      .replace(/<svg width="\d+" height="\d+"/, '<svg role="img"')
      .replaceAll(/ (?:ecmeta_\w+|pointer-events)="[^"]*"/g, "");
  } finally {
    chart.dispose();
  }
}
