/** How long a host may take for one request before it counts as hung: watchdogMs, or learned from what it took before. */
export interface WatchdogLimit {
  readonly seconds: () => number;
  readonly observe: (hostSeconds: number) => void;
}

const remembered = 256;
const timesP99 = 20;
const leastSeconds = 1;
/** At idle priority a busy machine may leave a host without the processor for seconds. */
const leastShadowSeconds = 10;
/** After so many answers the engine counts as warm, and what it took until then is forgotten. */
const coldSamples = 10;

export function createWatchdogLimit(options: {
  readonly watchdogMs: number | undefined;
  readonly shadow: boolean;
  /** Holds while nothing was ever answered. */
  readonly coldSeconds: number;
}): WatchdogLimit {
  const { watchdogMs, shadow, coldSeconds } = options;
  const samples = new Float64Array(remembered);
  let count = 0;
  let warm = false;
  const least = shadow ? leastShadowSeconds : leastSeconds;

  function learned(): number {
    if (count === 0) return coldSeconds;
    const sorted = samples.slice(0, Math.min(count, remembered)).sort();
    const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1] as number;
    return Math.max(least, timesP99 * p99);
  }

  return {
    seconds: () => (watchdogMs === undefined ? learned() : Math.max(shadow ? least : 0, watchdogMs / 1000)),
    observe(hostSeconds) {
      samples[count % remembered] = hostSeconds;
      count += 1;
      if (!warm && count > coldSamples) {
        samples[0] = hostSeconds;
        count = 1;
        warm = true;
      }
    },
  };
}
