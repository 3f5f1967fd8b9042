/**
 * Counts deadline misses of a stream: ratio, longest run, and the weakly-hard (m, k) figure, the most misses in any
 * k consecutive requests. Memory: k bytes.
 */
export interface DeadlineCounter {
  add(missed: boolean): void;
  result(): DeadlineResult;
}

interface DeadlineResult {
  readonly requests: number;
  readonly misses: number;
  /** NaN before the first request. */
  readonly missRatio: number;
  readonly longestRun: number;
  /** m of (m, k): the most misses seen in k consecutive requests. */
  readonly mostInWindow: number;
  readonly window: number;
}

export function createDeadlineCounter(window = 100): DeadlineCounter {
  const ring = new Uint8Array(window);
  let requests = 0;
  let misses = 0;
  let run = 0;
  let longestRun = 0;
  let inWindow = 0;
  let mostInWindow = 0;
  return {
    add(missed) {
      const at = requests % window;
      inWindow += (missed ? 1 : 0) - (ring[at] as number);
      ring[at] = missed ? 1 : 0;
      requests += 1;
      misses += missed ? 1 : 0;
      run = missed ? run + 1 : 0;
      longestRun = Math.max(longestRun, run);
      mostInWindow = Math.max(mostInWindow, inWindow);
    },
    result: () => ({
      requests,
      misses,
      missRatio: misses / requests,
      longestRun,
      mostInWindow,
      window,
    }),
  };
}
