import { binomialCdf } from "./order-statistic.ts";

/**
 * MLPerf LoadGen's early stopping: is a tail latency certified by this many requests? With t of n over the limit,
 * it is when the chance of at most t over in n, were the true quantile p - d exactly at the limit, is at most
 * 1 - confidence. Source: mlcommons/inference, loadgen/early_stopping.cc (confidence 0.99, tolerance d = 0).
 */
export function earlyStopping(options: EarlyStoppingOptions): EarlyStopping {
  const { over, within } = options;
  const needed = minimalWithin(over, options);
  return {
    passed: within >= needed,
    neededWithin: needed,
    moreNeeded: Math.max(0, needed - within),
  };
}

export interface EarlyStoppingOptions extends TailRule {
  /** Requests over the latency limit. */
  readonly over: number;
  /** Requests within it. */
  readonly within: number;
}

export interface TailRule {
  /** 0.99 for p99. */
  readonly percentile: number;
  /** Default 0.99. */
  readonly confidence?: number | undefined;
  /** d: by how much the percentile may be missed. Default 0. */
  readonly tolerance?: number | undefined;
}

export interface EarlyStopping {
  readonly passed: boolean;
  readonly neededWithin: number;
  /** How many more good requests are needed, were none of them over. */
  readonly moreNeeded: number;
}

/** Smallest h such that t over-limit requests among h + t pass. */
export function minimalWithin(over: number, rule: TailRule): number {
  const { percentile, confidence = 0.99, tolerance = 0 } = rule;
  const miss = 1 - percentile + tolerance;
  const passes = (h: number) => binomialCdf(over, h + over, miss) <= 1 - confidence;
  let high = 1;
  while (!passes(high)) high *= 2;
  let low = 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (passes(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
