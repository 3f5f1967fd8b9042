import type { Difference } from "../compare/difference.ts";
import {
  LogHistogram,
  secondsRange,
  type LogHistogramSnapshot,
} from "../compare/statistics/log-histogram.ts";
import { createRandom } from "../compare/statistics/random.ts";
import { createBlockChoice } from "./block-choice.ts";
import { createEpochs, type Epochs, type EpochsSnapshot, type Tally } from "./epochs.ts";
import { createPairEvidence, type PairEvidence, type PairEvidenceSnapshot } from "./pair-evidence.ts";

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
  /** Against the control, the engine that is active meanwhile. */
  readonly pairs: PairEvidence;
  /** One request per block each. */
  readonly rates: Readonly<Record<RateName, Epochs<Tally>>>;
  /** Engine times of live requests, told apart by phase; throttled or starved ones by themselves. */
  readonly live: Readonly<Record<LivePhase, LogHistogram>>;
  readonly counts: Readonly<Counts>;
  /** Why the last decision that could not be read could not. */
  readonly undecidedReason: string | null;
  readonly device: DeviceHealth;
  snapshot(): EvidenceSnapshot;
}

export interface EvidenceKey {
  readonly model: string;
  readonly engine: string;
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
      readonly difference: Pick<Difference, "result" | "flip" | "undecided">;
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
  /** A request that got no answer in time: a miss without a time. */
  | { readonly type: "late"; readonly blockId: number; readonly timeValid: boolean }
  /** A run ended without an error, and no client waited for it. A live one is told by `live`. */
  | { readonly type: "ran"; readonly blockId: number }
  /** The engine failed on an input, live or in the shadow. Not for inputs that the reference refuses too. */
  | { readonly type: "error"; readonly blockId: number }
  | { readonly type: "device"; readonly state: DeviceState }
  /** From now on pairs are run against the engine with this digest. */
  | { readonly type: "control"; readonly digest: string };

type Phase = "warmUp" | "afterIdle" | "steady";
type LivePhase = Phase | "throttled";
export type DeviceState = "ok" | "throttled" | "unknown";

export type RateName = "liveMiss" | "flip" | "outside" | "error";

interface Counts {
  pairs: number;
  /** Pairs with a time that does not count; their outputs do. */
  pairsWithoutTime: number;
  pairsWarmUp: number;
  candidateFirst: number;
  comparisons: number;
  /** Comparisons whose decision could not be read. */
  undecided: number;
  flips: number;
  bitEqual: number;
  within: number;
  diverged: number;
  invalid: number;
  live: number;
  missed: number;
  /** Of those, the ones without an answer. */
  unanswered: number;
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

const rateNames: readonly RateName[] = ["liveMiss", "flip", "outside", "error"];
const livePhases: readonly LivePhase[] = ["warmUp", "afterIdle", "steady", "throttled"];

export function createEvidence(options: {
  readonly key: EvidenceKey;
  /** model.yaml deadlineMs; without it no misses are counted in the shadow. */
  readonly deadlineSeconds?: number | undefined;
  readonly restarts?: number | undefined;
  /** How often its pairs were, which begin anew with each control too. */
  readonly pairRestarts?: number | undefined;
  /** For drawing one observation per block. */
  readonly seed: number;
  /** Of the same key; a snapshot of another one is the caller's to drop. */
  readonly snapshot?: EvidenceSnapshot | undefined;
}): Evidence {
  const { key, deadlineSeconds = Infinity, snapshot } = options;
  const restarts = snapshot?.restarts ?? options.restarts ?? 0;
  const random = createRandom(snapshot?.random ?? options.seed);
  const counts: Counts = { ...noCounts, ...snapshot?.counts };
  let undecidedReason = snapshot?.undecidedReason ?? null;
  let device: DeviceHealth = snapshot?.device ?? { state: "unknown", throttledShare: 0, samples: 0 };

  const pairs = createPairEvidence({
    random,
    deadlineSeconds,
    epochLength,
    restarts: options.pairRestarts ?? restarts,
    snapshot: snapshot?.pairs,
  });
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
    attempt: createBlockChoice<boolean>(
      random,
      (failed) => count("error", failed),
      snapshot?.choices.attempt,
    ),
    comparison: createBlockChoice<{ flip: boolean | null; outside: boolean }>(
      random,
      ({ flip, outside }) => {
        if (flip !== null) count("flip", flip);
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
    pairs.add(event.blockId, phase, controlSeconds, candidateSeconds);
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

  function addLate({ blockId, timeValid }: Extract<EvidenceEvent, { type: "late" }>): void {
    observeDevice();
    if (!timeValid) return;
    counts.missed += 1;
    counts.unanswered += 1;
    choices.live.add(blockId, true);
  }

  function addComparison(event: Extract<EvidenceEvent, { type: "comparison" }>): void {
    const { result, flip, undecided } = event.difference;
    counts.comparisons += 1;
    counts[result === "bit_equal" ? "bitEqual" : result] += 1;
    if (flip === undefined) counts.undecided += 1;
    undecidedReason = undecided ?? undecidedReason;
    if (flip) counts.flips += 1;
    const outside = result === "diverged" || result === "invalid";
    // A decision that could not be read is neither a flip nor none.
    choices.comparison.add(event.blockId, { flip: flip ?? null, outside });
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
    pairs,
    rates,
    live,
    counts,
    get undecidedReason() {
      return undecidedReason;
    },
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
        case "late":
          return addLate(event);
        case "ran":
          return choices.attempt.add(event.blockId, false);
        case "error":
          counts.errors += 1;
          return choices.attempt.add(event.blockId, true);
        case "device":
          device = { ...device, state: event.state };
          return;
        case "control":
          return pairs.against(event.digest);
        default:
          event satisfies never;
      }
    },
    flush() {
      for (const choice of Object.values(choices)) choice.flush();
      pairs.flush();
    },
    snapshot: () => ({
      schema: 3,
      key,
      restarts,
      random: random.state(),
      counts: { ...counts },
      undecidedReason,
      device,
      pairs: pairs.snapshot(),
      rates: record(rateNames, (name) => {
        const { whole, recent, epoch, inEpoch } = rates[name];
        return { whole: { ...whole }, recent: { ...recent }, epoch, inEpoch };
      }),
      live: record(livePhases, (phase) => live[phase].snapshot()),
      choices: {
        live: choices.live.chosen(),
        attempt: choices.attempt.chosen(),
        comparison: choices.comparison.chosen(),
      },
    }),
  };
}

/** Plain JSON. */
export interface EvidenceSnapshot {
  readonly schema: 3;
  readonly key: EvidenceKey;
  readonly restarts: number;
  readonly random: number;
  readonly counts: Counts;
  readonly undecidedReason: string | null;
  readonly device: DeviceHealth;
  readonly pairs: PairEvidenceSnapshot;
  readonly rates: Readonly<Record<RateName, EpochsSnapshot<Tally>>>;
  readonly live: Readonly<Record<LivePhase, LogHistogramSnapshot>>;
  readonly choices: {
    readonly live: boolean | null;
    readonly attempt: boolean | null;
    readonly comparison: { flip: boolean | null; outside: boolean } | null;
  };
}

const noCounts: Counts = {
  pairs: 0,
  pairsWithoutTime: 0,
  pairsWarmUp: 0,
  candidateFirst: 0,
  comparisons: 0,
  undecided: 0,
  flips: 0,
  bitEqual: 0,
  within: 0,
  diverged: 0,
  invalid: 0,
  live: 0,
  missed: 0,
  unanswered: 0,
  errors: 0,
};

function record<K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;
}
