import type { Random } from "../compare/statistics/random.ts";
import { createBlockChoice } from "./block-choice.ts";
import { createEpochs, type Epochs, type EpochsSnapshot, type Tally } from "./epochs.ts";
import {
  createPairTally,
  type PairObservation,
  type PairTally,
  type PairTallySnapshot,
} from "./pair-tally.ts";

/**
 * An engine's times beside those of the control on the same inputs, one pair per block. They mean something against
 * one control only: when another engine becomes active they begin anew.
 */
export interface PairEvidence {
  /** Digest of the engine that the pairs were run against; null before any was named. */
  readonly control: string | null;
  /** How often pairs were begun anew, for another control or with all of the evidence; each time has its own share of alpha. */
  readonly restarts: number;
  readonly steady: Epochs<PairTally>;
  readonly afterIdle: PairTally;
  /** Pairs in which the candidate alone was over the deadline. */
  readonly addedMiss: Epochs<Tally>;
  /** Pairs in which exactly one of the two was over the deadline. */
  readonly discordant: { readonly candidateLate: number; readonly controlLate: number };
  against(control: string): void;
  add(blockId: number, phase: "steady" | "afterIdle", control: number, candidate: number): void;
  /** Counts the blocks under way too. */
  flush(): void;
  snapshot(): PairEvidenceSnapshot;
}

/** Plain JSON. */
export interface PairEvidenceSnapshot {
  readonly control: string | null;
  readonly restarts: number;
  readonly steady: EpochsSnapshot<PairTallySnapshot>;
  readonly afterIdle: PairTallySnapshot;
  readonly addedMiss: EpochsSnapshot<Tally>;
  readonly discordant: { readonly candidateLate: number; readonly controlLate: number };
  readonly choices: {
    readonly steady: PairObservation | null;
    readonly afterIdle: PairObservation | null;
    readonly late: Lateness | null;
  };
}

/** Of one pair, which of the two was over the deadline. */
interface Lateness {
  readonly candidateLate: boolean;
  readonly controlLate: boolean;
}

/**
 * Lateness is counted once in two blocks: of two engines that are late for long stretches, each by itself, neighbouring
 * blocks tell the same, and too many good candidates would fail (simulated: test/audit/false-alarms.test.ts).
 */
const blocksPerLateness = 2;

export function createPairEvidence(options: {
  readonly random: Random;
  readonly deadlineSeconds: number;
  readonly epochLength: number;
  readonly restarts: number;
  readonly snapshot?: PairEvidenceSnapshot | undefined;
}): PairEvidence {
  let control = options.snapshot?.control ?? null;
  let restarts = options.snapshot?.restarts ?? options.restarts;
  let pairs = createPairs(options, options.snapshot);
  return {
    get control() {
      return control;
    },
    get restarts() {
      return restarts;
    },
    get steady() {
      return pairs.steady;
    },
    get afterIdle() {
      return pairs.afterIdle;
    },
    get addedMiss() {
      return pairs.addedMiss;
    },
    get discordant() {
      return pairs.discordant;
    },
    against(digest) {
      if (digest === control) return;
      // What nobody could look at has spent nothing.
      if (pairs.steady.whole.control.count + pairs.afterIdle.control.count > 0) restarts += 1;
      pairs = createPairs(options);
      control = digest;
    },
    add: (...pair) => pairs.add(...pair),
    flush: () => pairs.flush(),
    snapshot: () => ({ control, restarts, ...pairs.snapshot() }),
  };
}

/** Pairs against one control. */
function createPairs(
  {
    random,
    deadlineSeconds,
    epochLength,
  }: { readonly random: Random; readonly deadlineSeconds: number; readonly epochLength: number },
  snapshot?: PairEvidenceSnapshot,
) {
  const savedSteady = snapshot?.steady;
  const steady = createEpochs<PairTally>({
    length: epochLength,
    create: createPairTally,
    restored: savedSteady && {
      ...savedSteady,
      whole: createPairTally(savedSteady.whole),
      recent: createPairTally(savedSteady.recent),
    },
  });
  const afterIdle = createPairTally(snapshot?.afterIdle);
  const addedMiss = createEpochs<Tally>({
    length: epochLength,
    create: () => ({ events: 0, n: 0 }),
    restored: structuredClone(snapshot?.addedMiss),
  });
  const discordant = { ...(snapshot?.discordant ?? { candidateLate: 0, controlLate: 0 }) };
  /** The pair before, for jitter. */
  const before: Record<"steady" | "afterIdle", [number, number] | null> = { steady: null, afterIdle: null };
  const choices = {
    steady: createBlockChoice<PairObservation>(
      random,
      (pair) => steady.add((tally) => tally.add(pair)),
      snapshot?.choices.steady,
    ),
    afterIdle: createBlockChoice<PairObservation>(
      random,
      (pair) => afterIdle.add(pair),
      snapshot?.choices.afterIdle,
    ),
    late: createBlockChoice<Lateness>(random, countLate, snapshot?.choices.late),
  };

  function countLate({ candidateLate, controlLate }: Lateness): void {
    if (candidateLate && !controlLate) discordant.candidateLate += 1;
    if (controlLate && !candidateLate) discordant.controlLate += 1;
    addedMiss.add((tally) => {
      tally.n += 1;
      if (candidateLate && !controlLate) tally.events += 1;
    });
  }

  return {
    steady,
    afterIdle,
    addedMiss,
    discordant,
    add(blockId: number, phase: "steady" | "afterIdle", control: number, candidate: number): void {
      const last = before[phase];
      before[phase] = [control, candidate];
      const lateness = { candidateLate: candidate > deadlineSeconds, controlLate: control > deadlineSeconds };
      choices.late.add(Math.floor(blockId / blocksPerLateness), lateness);
      choices[phase].add(blockId, {
        control,
        candidate,
        controlJitter: last && Math.abs(control - last[0]),
        candidateJitter: last && Math.abs(candidate - last[1]),
      });
    },
    flush(): void {
      for (const choice of Object.values(choices)) choice.flush();
    },
    snapshot: () => ({
      steady: {
        whole: steady.whole.snapshot(),
        recent: steady.recent.snapshot(),
        epoch: steady.epoch,
        inEpoch: steady.inEpoch,
      },
      afterIdle: afterIdle.snapshot(),
      addedMiss: {
        whole: { ...addedMiss.whole },
        recent: { ...addedMiss.recent },
        epoch: addedMiss.epoch,
        inEpoch: addedMiss.inEpoch,
      },
      discordant: { ...discordant },
      choices: {
        steady: choices.steady.chosen(),
        afterIdle: choices.afterIdle.chosen(),
        late: choices.late.chosen(),
      },
    }),
  };
}
