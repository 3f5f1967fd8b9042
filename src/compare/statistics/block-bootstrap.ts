import { percentile } from "./order-statistic.ts";
import type { Interval } from "./rate-sequence.ts";
import type { Random } from "./random.ts";

/**
 * Percentile interval of the ratio q_p(candidate) / q_p(control) by the circular block bootstrap (Politis & Romano
 * 1992), which keeps short-range dependence inside its blocks; each series is resampled by itself. For the offline
 * report: one look. Deterministic for a seeded `random`.
 */
export function quantileRatioBootstrap(options: BootstrapOptions): Interval & { readonly estimate: number } {
  const { candidate, control, p, random, resamples = 1000, confidence = 0.95 } = options;
  const ratios = new Float64Array(resamples);
  const draws = [candidate, control].map((series) => ({
    series,
    drawn: new Float64Array(series.length),
    block: options.blockLength ?? Math.max(1, Math.round(Math.cbrt(series.length))),
  }));
  for (let round = 0; round < resamples; round += 1) {
    const [above, below] = draws.map(({ series, drawn, block }) => {
      resample(series, drawn, block, random);
      return percentile(drawn.sort(), p);
    });
    ratios[round] = (above as number) / (below as number);
  }
  ratios.sort();
  return {
    estimate:
      percentile(Float64Array.from(candidate).sort(), p) / percentile(Float64Array.from(control).sort(), p),
    lower: percentile(ratios, (1 - confidence) / 2),
    upper: percentile(ratios, (1 + confidence) / 2),
  };
}

export interface BootstrapOptions {
  readonly candidate: ArrayLike<number>;
  readonly control: ArrayLike<number>;
  readonly p: number;
  readonly random: Random;
  /** Consecutive samples drawn together; default the cube root of the length. */
  readonly blockLength?: number | undefined;
  readonly resamples?: number | undefined;
  readonly confidence?: number | undefined;
}

function resample(series: ArrayLike<number>, drawn: Float64Array, block: number, random: Random): void {
  const n = series.length;
  for (let at = 0; at < n; at += block) {
    const start = Math.floor(random.next() * n);
    for (let i = 0; i < block && at + i < n; i += 1) drawn[at + i] = series[(start + i) % n] as number;
  }
}
