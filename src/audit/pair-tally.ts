import {
  LogHistogram,
  secondsRange,
  type LogHistogramSnapshot,
} from "../compare/statistics/log-histogram.ts";

/**
 * Latencies of control and candidate on the same inputs: each one's distribution, that of their ratio, and each one's
 * jitter, the distance from its run before.
 */
export interface PairTally {
  readonly control: LogHistogram;
  readonly candidate: LogHistogram;
  /** candidate / control of each pair. */
  readonly ratio: LogHistogram;
  readonly controlJitter: LogHistogram;
  readonly candidateJitter: LogHistogram;
  add(pair: PairObservation): void;
  snapshot(): PairTallySnapshot;
}

export interface PairObservation {
  readonly control: number;
  readonly candidate: number;
  /** |x_i - x_(i-1)|; null for the first pair. */
  readonly controlJitter: number | null;
  readonly candidateJitter: number | null;
}

export interface PairTallySnapshot {
  readonly control: LogHistogramSnapshot;
  readonly candidate: LogHistogramSnapshot;
  readonly ratio: LogHistogramSnapshot;
  readonly controlJitter: LogHistogramSnapshot;
  readonly candidateJitter: LogHistogramSnapshot;
}

/** 1/64 to 64 times, in steps of 0.4 %. */
const ratioRange = { from: -6, to: 6, bits: 8 };
const jitterRange = { ...secondsRange, bits: 5 };

export function createPairTally(snapshot?: PairTallySnapshot): PairTally {
  const open = (saved: LogHistogramSnapshot | undefined, range = secondsRange) =>
    saved === undefined ? new LogHistogram(range) : LogHistogram.restore(saved);
  const control = open(snapshot?.control);
  const candidate = open(snapshot?.candidate);
  const ratio = open(snapshot?.ratio, ratioRange);
  const controlJitter = open(snapshot?.controlJitter, jitterRange);
  const candidateJitter = open(snapshot?.candidateJitter, jitterRange);
  return {
    control,
    candidate,
    ratio,
    controlJitter,
    candidateJitter,
    add(pair) {
      control.add(pair.control);
      candidate.add(pair.candidate);
      // A clock too coarse for the engine reads 0.
      ratio.add(pair.candidate / Math.max(pair.control, 1e-9));
      if (pair.controlJitter === null || pair.candidateJitter === null) return;
      controlJitter.add(pair.controlJitter);
      candidateJitter.add(pair.candidateJitter);
    },
    snapshot: () => ({
      control: control.snapshot(),
      candidate: candidate.snapshot(),
      ratio: ratio.snapshot(),
      controlJitter: controlJitter.snapshot(),
      candidateJitter: candidateJitter.snapshot(),
    }),
  };
}
