import { bisect, type Interval } from "./rate-sequence.ts";
import { betaInc } from "./special.ts";

/** Exact (Clopper-Pearson) two-sided interval of a rate from k events in n independent trials, looked at once. */
export function clopperPearson(events: number, n: number, confidence: number): Interval {
  const half = (1 - confidence) / 2;
  return {
    lower: events === 0 ? 0 : bisect(0, 1, (p) => betaInc(p, events, n - events + 1) >= half),
    upper: clopperPearsonUpper(events, n, 1 - half),
  };
}

/** One-sided exact upper bound; 0 events in n give 1 - (1 - confidence)^(1/n). */
export function clopperPearsonUpper(events: number, n: number, confidence: number): number {
  if (events >= n) return 1;
  return bisect(0, 1, (p) => betaInc(p, events + 1, n - events) >= confidence);
}
