import type { Difference } from "../compare/difference.ts";
import {
  LogHistogram,
  secondsRange,
  type LogHistogramSnapshot,
} from "../compare/statistics/log-histogram.ts";
import { createRandom } from "../compare/statistics/random.ts";
import { createBlockChoice } from "./block-choice.ts";
import { createEpochs, type Epochs } from "./epochs.ts";
import {
  createPairTally,
  type PairObservation,
  type PairTally,
  type PairTallySnapshot,
} from "./pair-tally.ts";

/**
 * Everything that speaks for or against one engine of a model, judged against one reference: it begins anew when
 * either digest changes. Memory is constant, about 200 kB; `snapshot` is plain JSON for the store.
 */
export interface Evidence {
  readonly key: EvidenceKey;
  /** How often evidence for this key was begun anew; each time has its own, smaller share of alpha. */
  readonly restarts: number;
  add(event: EvidenceEvent): void;
  /** Counts the block under way too: the last observation of an audit that has an end. */
  flush(): void;
  /** One pair per block. */
  readonly pairs: { readonly steady: Epochs<PairTally>; readonly afterIdle: PairTally };
  /** One request per block each. */
  readonly rates: Readonly<Record<RateName, Epochs<Tally>>>;
  /** Of those pairs, the ones in which exactly one of the two was over the deadline. */
  readonly discordant: { readonly candidateLate: number; readonly controlLate: number };
  /** Engine times of live requests, told apart by phase; throttled or starved ones by themselves. */
  readonly live: Readonly<Record<LivePhase, LogHistogram>>;
  readonly counts: Readonly<Counts>;
  readonly device: DeviceHealth;
  snapshot(): EvidenceSnapshot;
}

export interface EvidenceKey {
  readonly model: string;
  readonly referenceDigest: string;
  readonly engineDigest: string;
}

/** `blockId`: floor(time / blockMs), of the moment the observation was made, by a clock that never goes back. */
export type EvidenceEvent =
  | {
      readonly type: "pair";
      readonly blockId: number;
      readonly controlSeconds: number;
      readonly candidateSeconds: number;
      /** Drawn for each pair; the comparative rules are valid because it is. */
      readonly order: "controlFirst" | "candidateFirst";
      /** No overlap with a live request, no throttling, no starved host, on either run. */
      readonly timeValid: boolean;
      readonly phase: Phase;
      /** The candidate's run was added as a live one too, and the device looked at with it. */
      readonly alsoLive?: true;
    }
  | {
      readonly type: "comparison";
      readonly blockId: number;
      readonly difference: Pick<Difference, "result" | "flip">;
    }
  | {
      readonly type: "live";
      readonly blockId: number;
      readonly seconds: number;
      /** The reply was later than the model's deadline. */
      readonly missed: boolean;
      /** Neither throttled nor starved. */
      readonly timeValid: boolean;
      readonly phase: Phase;
    }
  /** The engine failed on an input, live or in the shadow. Not for inputs that the reference refuses too. */
  | {
      readonly type: "error";
      readonly blockId: number;
      /** It was a request with a deadline, which is missed by not being answered. */
      readonly missed?: true;
    }
  /** The engine did not fail, and nothing else is told of it: neither timed nor compared. */
  | { readonly type: "answered"; readonly blockId: number }
  | { readonly type: "device"; readonly state: DeviceState };

type Phase = "warmUp" | "afterIdle" | "steady";
type LivePhase = Phase | "throttled";
export type DeviceState = "ok" | "throttled" | "faulty" | "unknown";

export type RateName = "liveMiss" | "addedMiss" | "flip" | "outside" | "error";

export interface Tally {
  events: number;
  n: number;
}

interface Counts {
  pairs: number;
  /** Pairs with a time that does not count; their outputs do. */
  pairsWithoutTime: number;
  pairsWarmUp: number;
  candidateFirst: number;
  comparisons: number;
  flips: number;
  bitEqual: number;
  within: number;
  diverged: number;
  invalid: number;
  live: number;
  missed: number;
  errors: number;
}

interface DeviceHealth {
  readonly state: DeviceState;
  /** Share of samples taken while the device throttled, fading over the last 128 or so. */
  readonly throttledShare: number;
  readonly samples: number;
}

/** Blocks per epoch: enough for a p99 with its bounds (1,000 to 1,500), few enough to see a drift. */
const epochLength = 2048;

const rateNames: readonly RateName[] = ["liveMiss", "addedMiss", "flip", "outside", "error"];
const livePhases: readonly LivePhase[] = ["warmUp", "afterIdle", "steady", "throttled"];

export function createEvidence(options: {
  readonly key: EvidenceKey;
  /** model.yaml deadlineMs; without it no misses are counted in the shadow. */
  readonly deadlineSeconds?: number | undefined;
  readonly restarts?: number | undefined;
  /** For drawing one observation per block. */
  readonly seed: number;
  /** Of the same key; a snapshot of another one is the caller's to drop. */
  readonly snapshot?: EvidenceSnapshot | undefined;
}): Evidence {
  const { key, deadlineSeconds = Infinity, snapshot } = options;
  const restarts = snapshot?.restarts ?? options.restarts ?? 0;
  const random = createRandom(snapshot?.random ?? options.seed);
  const counts: Counts = { ...(snapshot?.counts ?? noCounts) };
  const discordant = { ...(snapshot?.discordant ?? { candidateLate: 0, controlLate: 0 }) };
  /** The pair before, for jitter. */
  const before: Record<"steady" | "afterIdle", [number, number] | null> = { steady: null, afterIdle: null };
  let device: DeviceHealth = snapshot?.device ?? { state: "unknown", throttledShare: 0, samples: 0 };

  const savedSteady = snapshot?.pairs.steady;
  const steady = createEpochs<PairTally>({
    length: epochLength,
    create: createPairTally,
    restored: savedSteady && {
      ...savedSteady,
      whole: createPairTally(savedSteady.whole),
      recent: createPairTally(savedSteady.recent),
    },
  });
  const afterIdle = createPairTally(snapshot?.pairs.afterIdle);
  const rates = record(rateNames, (name) =>
    createEpochs<Tally>({
      length: epochLength,
      create: () => ({ events: 0, n: 0 }),
      restored: structuredClone(snapshot?.rates[name]),
    }),
  );
  const live = record(livePhases, (phase) => {
    const saved = snapshot?.live[phase];
    return saved === undefined ? new LogHistogram(secondsRange) : LogHistogram.restore(saved);
  });

  const count = (rate: RateName, event: boolean) =>
    rates[rate].add((tally) => {
      tally.n += 1;
      if (event) tally.events += 1;
    });
  const choices = {
    live: createBlockChoice<boolean>(random, (missed) => count("liveMiss", missed), snapshot?.choices.live),
    steady: createBlockChoice<PairObservation>(
      random,
      (pair) => {
        steady.add((tally) => tally.add(pair));
        countLate(pair);
      },
      snapshot?.choices.steady,
    ),
    afterIdle: createBlockChoice<PairObservation>(
      random,
      (pair) => {
        afterIdle.add(pair);
        countLate(pair);
      },
      snapshot?.choices.afterIdle,
    ),
    attempt: createBlockChoice<boolean>(
      random,
      (failed) => count("error", failed),
      snapshot?.choices.attempt,
    ),
    comparison: createBlockChoice<{ flip: boolean; outside: boolean }>(
      random,
      ({ flip, outside }) => {
        count("flip", flip);
        count("outside", outside);
      },
      snapshot?.choices.comparison,
    ),
  };

  function addPair(event: Extract<EvidenceEvent, { type: "pair" }>): void {
    const { controlSeconds, candidateSeconds, phase, timeValid } = event;
    counts.pairs += 1;
    if (event.alsoLive !== true) observeDevice();
    if (!timeValid) {
      counts.pairsWithoutTime += 1;
      return;
    }
    if (phase === "warmUp") {
      counts.pairsWarmUp += 1;
      return;
    }
    if (event.order === "candidateFirst") counts.candidateFirst += 1;
    const last = before[phase];
    before[phase] = [controlSeconds, candidateSeconds];
    choices[phase].add(event.blockId, {
      control: controlSeconds,
      candidate: candidateSeconds,
      controlJitter: last && Math.abs(controlSeconds - last[0]),
      candidateJitter: last && Math.abs(candidateSeconds - last[1]),
    });
  }

  function countLate({ control, candidate }: PairObservation): void {
    const candidateLate = candidate > deadlineSeconds;
    const controlLate = control > deadlineSeconds;
    if (candidateLate && !controlLate) discordant.candidateLate += 1;
    if (controlLate && !candidateLate) discordant.controlLate += 1;
    count("addedMiss", candidateLate && !controlLate);
  }

  function addLive(event: Extract<EvidenceEvent, { type: "live" }>): void {
    counts.live += 1;
    choices.attempt.add(event.blockId, false);
    observeDevice();
    live[event.timeValid ? event.phase : "throttled"].add(event.seconds);
    if (!event.timeValid || event.phase === "warmUp") return;
    if (event.missed) counts.missed += 1;
    choices.live.add(event.blockId, event.missed);
  }

  function addComparison(event: Extract<EvidenceEvent, { type: "comparison" }>): void {
    const { result, flip } = event.difference;
    counts.comparisons += 1;
    counts[result === "bit_equal" ? "bitEqual" : result] += 1;
    if (flip) counts.flips += 1;
    choices.attempt.add(event.blockId, false);
    choices.comparison.add(event.blockId, { flip, outside: result === "diverged" || result === "invalid" });
  }

  function observeDevice(): void {
    const { state, throttledShare, samples } = device;
    const weight = 1 / Math.min(samples + 1, 128);
    device = {
      state,
      throttledShare: throttledShare + weight * ((state === "throttled" ? 1 : 0) - throttledShare),
      samples: samples + 1,
    };
  }

  return {
    key,
    restarts,
    pairs: { steady, afterIdle },
    rates,
    discordant,
    live,
    counts,
    get device() {
      return device;
    },
    add(event) {
      switch (event.type) {
        case "pair":
          return addPair(event);
        case "comparison":
          return addComparison(event);
        case "live":
          return addLive(event);
        case "error":
          counts.errors += 1;
          if (event.missed) choices.live.add(event.blockId, true);
          return choices.attempt.add(event.blockId, true);
        case "answered":
          return choices.attempt.add(event.blockId, false);
        case "device":
          device = { ...device, state: event.state };
          return;
        default:
          event satisfies never;
      }
    },
    flush() {
      for (const choice of Object.values(choices)) choice.flush();
    },
    snapshot: () => ({
      schema: 1,
      key,
      restarts,
      random: random.state(),
      counts: { ...counts },
      discordant: { ...discordant },
      device,
      pairs: {
        steady: {
          whole: steady.whole.snapshot(),
          recent: steady.recent.snapshot(),
          epoch: steady.epoch,
          inEpoch: steady.inEpoch,
        },
        afterIdle: afterIdle.snapshot(),
      },
      rates: record(rateNames, (name) => {
        const { whole, recent, epoch, inEpoch } = rates[name];
        return { whole: { ...whole }, recent: { ...recent }, epoch, inEpoch };
      }),
      live: record(livePhases, (phase) => live[phase].snapshot()),
      choices: {
        live: choices.live.chosen(),
        steady: choices.steady.chosen(),
        afterIdle: choices.afterIdle.chosen(),
        attempt: choices.attempt.chosen(),
        comparison: choices.comparison.chosen(),
      },
    }),
  };
}

/** Plain JSON. */
export interface EvidenceSnapshot {
  readonly schema: 1;
  readonly key: EvidenceKey;
  readonly restarts: number;
  readonly random: number;
  readonly counts: Counts;
  readonly discordant: { readonly candidateLate: number; readonly controlLate: number };
  readonly device: DeviceHealth;
  readonly pairs: {
    readonly steady: EpochsSnapshot<PairTallySnapshot>;
    readonly afterIdle: PairTallySnapshot;
  };
  readonly rates: Readonly<Record<RateName, EpochsSnapshot<Tally>>>;
  readonly live: Readonly<Record<LivePhase, LogHistogramSnapshot>>;
  readonly choices: {
    readonly live: boolean | null;
    readonly steady: PairObservation | null;
    readonly afterIdle: PairObservation | null;
    readonly attempt: boolean | null;
    readonly comparison: { flip: boolean; outside: boolean } | null;
  };
}

interface EpochsSnapshot<T> {
  readonly whole: T;
  readonly recent: T;
  readonly epoch: number;
  readonly inEpoch: number;
}

const noCounts: Counts = {
  pairs: 0,
  pairsWithoutTime: 0,
  pairsWarmUp: 0,
  candidateFirst: 0,
  comparisons: 0,
  flips: 0,
  bitEqual: 0,
  within: 0,
  diverged: 0,
  invalid: 0,
  live: 0,
  missed: 0,
  errors: 0,
};

function record<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;
}
