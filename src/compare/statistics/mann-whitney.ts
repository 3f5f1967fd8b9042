import { midranks } from "./rank.ts";
import { normalCdf, normalQuantile } from "./special.ts";

/**
 * Mann-Whitney U test with the Hodges-Lehmann shift, for the offline report only: looked at repeatedly, or on
 * autocorrelated samples, it gives false alarms far above its level. Feed it block medians.
 * Two-sided p by the normal approximation with tie and continuity correction; the interval by Moses' method
 * (Hollander & Wolfe, Nonparametric Statistical Methods, 4.3). Memory and time O(n m): at most a few thousand each.
 */
export function mannWhitney(x: readonly number[], y: readonly number[], confidence = 0.95): MannWhitney {
  const n = x.length;
  const m = y.length;
  const { ranks, ties } = midranks([...x, ...y]);
  let rankSum = 0;
  for (let i = 0; i < n; i += 1) rankSum += ranks[i] as number;
  const u = rankSum - (n * (n + 1)) / 2;
  const total = n + m;
  const tieTerm = ties.reduce((sum, t) => sum + (t * t * t - t), 0) / (total * (total - 1));
  const deviation = Math.sqrt(((n * m) / 12) * (total + 1 - tieTerm));
  const distance = Math.max(0, Math.abs(u - (n * m) / 2) - 0.5);
  const pValue = deviation === 0 ? 1 : Math.min(1, 2 * normalCdf(-distance / deviation));

  const shifts = new Float64Array(n * m);
  let at = 0;
  for (const a of x) for (const b of y) shifts[at++] = a - b;
  shifts.sort();
  const half = Math.floor(
    (n * m) / 2 - normalQuantile((1 + confidence) / 2) * Math.sqrt((n * m * (total + 1)) / 12),
  );
  const middle = (n * m) / 2;
  return {
    u,
    pValue,
    shift: ((shifts[Math.ceil(middle) - 1] as number) + (shifts[Math.floor(middle)] as number)) / 2,
    shiftLower: half < 1 ? -Infinity : (shifts[half - 1] as number),
    shiftUpper: half < 1 ? Infinity : (shifts[n * m - half] as number),
  };
}

export interface MannWhitney {
  /** U of the first sample. */
  readonly u: number;
  readonly pValue: number;
  /** Hodges-Lehmann: median of all x_i - y_j, in the samples' unit. */
  readonly shift: number;
  readonly shiftLower: number;
  readonly shiftUpper: number;
}
