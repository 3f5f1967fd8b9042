import type { Clock } from "../core/clock.ts";
import type { DifferenceSummary, OutputSummary } from "../compare/difference.ts";
import { LogHistogram, type LogRange } from "../compare/statistics/log-histogram.ts";

export type DivergenceMetric = "max_abs" | "max_rel" | "ulp" | "cosine" | "kl";

/** 1e-12 to 1e12 in steps of 9 %; what is smaller counts as 0. */
const range: LogRange = { from: -40, to: 40, bits: 3 };
const slots = 5;
const slotSeconds = 60;

/** How far one engine was from another over the last 5 minutes, per output and metric. Memory is constant. */
export interface DivergenceWindow {
  add(difference: DifferenceSummary): void;
  /** Calls back for each output and metric that has values; quantile(p), p in 0..1, in the metric's own unit. */
  each(visit: (output: string, metric: DivergenceMetric, quantile: (p: number) => number) => void): void;
  /** Calls back, once, for each output and metric that had values and has none any more. */
  eachGone(visit: (output: string, metric: DivergenceMetric) => void): void;
}

export function createDivergenceWindow({ clock }: { readonly clock: Clock }): DivergenceWindow {
  const outputs = new Map<string, Map<DivergenceMetric, Window>>();

  function record(output: string, metric: DivergenceMetric, value: number): void {
    let windows = outputs.get(output);
    if (!windows) outputs.set(output, (windows = new Map()));
    let window = windows.get(metric);
    if (!window) windows.set(metric, (window = new Window()));
    window.add(value, clock.seconds());
  }

  return {
    add(difference) {
      for (const output of difference.outputs) recordOutput(output, record);
      // KL belongs to the first output: the class scores.
      const [scores] = difference.outputs;
      const { kl } = difference;
      if (kl !== undefined && scores) record(scores.name, "kl", scores.notComparable > 0 ? Infinity : kl);
    },
    each(visit) {
      for (const [output, windows] of outputs)
        for (const [metric, window] of windows) {
          const merged = window.merged(clock.seconds());
          if (merged.count === 0) continue;
          // Of a similarity the low values are the bad ones; kept as 1 - cosine, where the resolution is.
          visit(
            output,
            metric,
            metric === "cosine" ? (p) => 1 - merged.quantile(1 - p) : (p) => merged.quantile(p),
          );
        }
    },
    eachGone(visit) {
      for (const [output, windows] of outputs) {
        for (const [metric, window] of windows) {
          if (window.holds(clock.seconds())) continue;
          windows.delete(metric);
          visit(output, metric);
        }
        if (windows.size === 0) outputs.delete(output);
      }
    },
  };
}

function recordOutput(
  { name, notComparable, absMax, relMax, ulpMax, cosine }: OutputSummary,
  record: (output: string, metric: DivergenceMetric, value: number) => void,
): void {
  if (notComparable > 0) {
    // The figures are those of the other elements: NaN where the reference has a number is as far as can be.
    for (const metric of ["max_abs", "max_rel", "ulp"] as const) record(name, metric, Infinity);
    record(name, "cosine", 2);
    return;
  }
  record(name, "max_abs", absMax);
  record(name, "max_rel", relMax);
  record(name, "ulp", ulpMax);
  record(name, "cosine", Math.max(0, 1 - cosine));
}

class Window {
  #slots: { minute: number; histogram: LogHistogram }[] = [];

  add(value: number, seconds: number): void {
    if (Number.isNaN(value)) return;
    const minute = Math.floor(seconds / slotSeconds);
    let slot = this.#slots.at(-1);
    if (slot?.minute !== minute) {
      // A slot that has left the window is used again, so that memory stays as it is.
      const old = this.#slots.length >= slots ? this.#slots.shift() : undefined;
      old?.histogram.clear();
      slot = { minute, histogram: old?.histogram ?? new LogHistogram(range) };
      this.#slots.push(slot);
    }
    slot.histogram.add(value);
  }

  holds(seconds: number): boolean {
    const oldest = oldestSlot(seconds);
    return this.#slots.some(({ minute, histogram }) => minute >= oldest && histogram.count > 0);
  }

  merged(seconds: number): LogHistogram {
    const oldest = oldestSlot(seconds);
    const merged = new LogHistogram(range);
    for (const { minute, histogram } of this.#slots) {
      if (minute < oldest || histogram.count === 0) continue;
      // By index: an iterator would make an array for each bucket.
      for (let index = 0; index < histogram.counts.length; index += 1)
        merged.counts[index] = (merged.counts[index] as number) + (histogram.counts[index] as number);
      merged.count += histogram.count;
      merged.minimum = Math.min(merged.minimum, histogram.minimum);
      merged.maximum = Math.max(merged.maximum, histogram.maximum);
    }
    return merged;
  }
}

function oldestSlot(seconds: number): number {
  return Math.floor(seconds / slotSeconds) - slots + 1;
}
