import { z } from "zod";
import { ruleNames } from "../../models/manifest.ts";

/**
 * An audit's findings, the one source of report.json, report.md and report.html. Every figure's name carries its unit
 * (`Ratio`: a share or a quotient); null where it cannot be estimated from what was seen.
 */
export const reportSchema = z.lazy(() =>
  z.strictObject({
    schema: z.literal(1),
    /** offline: timed requests of an audit. live: evidence that a gateway has gathered beside its traffic. */
    kind: z.enum(["offline", "live"]),
    generatedAt: z.string(),
    crosscheckVersion: z.string(),
    verdict: outcome,
    verdictReason: z.string(),
    model: z.strictObject({
      name: z.string(),
      task: z.string(),
      /** Of the ONNX bytes that the engines were built from; more than one when they differ. */
      sourceSha256: z.array(z.string()),
      inputs: z.array(z.string()),
      outputs: z.array(z.string()),
      reference: z.string().nullable(),
      active: z.string().nullable(),
      deadlineSeconds: figure,
      /** Of one run on an input as audited; null where nobody counts it. */
      work: z
        .strictObject({
          /** Two for each multiply-accumulate of convolutions and matrix products in the ONNX graph. */
          floatingPointOperations: figure,
          /** How many nodes were counted, by operator. */
          countedNodes: z.record(z.string(), count),
          unknownReason: z.string().nullable(),
        })
        .nullable(),
    }),
    dataset: z
      .strictObject({ source: z.string(), sha256: z.string(), inputs: count, labelledInputs: count })
      .nullable(),
    run: z
      .strictObject({
        requestsPerEngine: count,
        seconds: z.number(),
        /** Of the random order; with it the order can be drawn again. */
        seed: z.number(),
        /** Over every engine's times in the order measured, as little-endian float64. */
        samplesSha256: z.string(),
        /** Devices on which all engines were slow (over twice their median) in the same rounds, far oftener than by chance. */
        slowTogether: z.array(
          z.strictObject({
            device: z.string(),
            engines: z.array(z.string()),
            rounds: count,
            /** What chance would make of it, were engines slow independently. */
            expectedRounds: z.number(),
            longestStretch: count,
          }),
        ),
      })
      .nullable(),
    platform: platformSchema,
    engines: z.array(engineSchema),
    /** Every two engines on the same inputs; the reference first. */
    pairs: z.array(pairSchema),
    builds: z.array(buildsSchema),
    rebuilds: z.array(rebuildSchema),
    worstInputs: z.array(worstInputSchema),
    ranking: rankingSchema.nullable(),
    /** What cannot be answered here, and why. */
    notApplicable: z.array(z.strictObject({ table: z.string(), reason: z.string() })),
    limits: z.array(z.string()),
  }),
);

const outcome = z.enum(["pass", "fail", "inconclusive"]);
const count = z.int().nonnegative();
const figure = z.number().nullable();

const gpuSchema = z.strictObject({
  name: z.string(),
  driver: z.string(),
  powerMode: z.string().nullable(),
  samples: count,
  utilizationMeanRatio: figure,
  memoryUsedMaxBytes: figure,
  memoryTotalBytes: figure,
  powerMeanWatts: figure,
  energyJoules: figure,
  temperatureMaxCelsius: figure,
  clocksHertz: z.record(z.string(), z.number()),
  throttledSamples: count,
});

const platformSchema = z.strictObject({
  operatingSystem: z.string(),
  architecture: z.string(),
  processor: z.string(),
  cores: count,
  memoryBytes: z.number(),
  /** Of the processor's clock, as Linux names it. */
  governor: z.string().nullable(),
  node: z.string(),
  gpus: z.array(gpuSchema),
});

const verdictSchema = z.strictObject({
  /** A rule of the policy, or `loads` and `selfIdentity`, which hold without any statistics. */
  rule: z.enum([...ruleNames, "loads", "selfIdentity"]),
  verdict: outcome,
  value: figure,
  threshold: z.number(),
  lower: figure,
  upper: figure,
  have: count,
  need: figure,
  unit: z.string(),
  alpha: z.number(),
  /** What was observed. An audit: requests, pairs with the reference, inputs compared. A gateway: live, shadow, comparison. */
  source: z.enum([
    "requests",
    "pairs",
    "inputs",
    "live",
    "shadow",
    "comparison",
    "device",
    "load",
    "selfChecks",
  ]),
  /** The part of the evidence that decided. */
  scope: z.enum(["whole", "recent", "afterIdle"]),
  reason: z.string(),
});

const streamsStepSchema = z.strictObject({
  streams: count,
  requests: count,
  /** Answered later than a period after their frame was due, or not at all. */
  misses: count,
  /** Clopper-Pearson, one-sided, 95 %, of this step alone. */
  missUpperBoundRatio: z.number(),
});

const engineSchema = z.strictObject({
  id: z.string(),
  role: z.enum(["reference", "active", "candidate"]),
  compiler: z.string(),
  compilerVersion: z.string(),
  runtime: z.string().nullable(),
  precision: z.string(),
  target: z.string().nullable(),
  device: z.string(),
  threads: count,
  /** What its compiler was told, as engine.yaml has it. */
  options: z.record(z.string(), z.unknown()),
  seed: z.union([z.number(), z.string()]).nullable(),
  artifactSha256: z.string(),
  artifactBytes: figure,
  fingerprint: z.string(),
  buildSeconds: z.number(),
  builtAt: z.string(),
  /** Null: loaded for comparison only, not asked for. */
  verdict: outcome.nullable(),
  verdicts: z.array(verdictSchema),
  /** Why it could not be loaded. */
  error: z.string().nullable(),
  /** Requests that it failed on. */
  failures: count,
  residentBytes: figure,
  latency: z.strictObject({
    /** timedRequests and shadowRuns: inside the engine. liveRequests: receipt to reply. */
    source: z.enum(["timedRequests", "shadowRuns", "liveRequests", "none"]),
    samples: count,
    meanSeconds: figure,
    p50Seconds: figure,
    p90Seconds: figure,
    p99Seconds: figure,
    p999Seconds: figure,
    /** 95 % confident, distribution-free. */
    p99UpperBoundSeconds: figure,
    maxSeconds: figure,
    /** Standard deviation over mean. */
    variationRatio: figure,
    requestsPerSecond: figure,
    /** The reference's p50 over this one's, with a 95 % interval from a block bootstrap where times are in order. */
    speedupRatio: figure,
    speedupLowerRatio: figure,
    speedupUpperRatio: figure,
  }),
  jitter: z.strictObject({
    pdvP99Seconds: figure,
    ipdvP99Seconds: figure,
    iqrSeconds: figure,
    peakToPeakSeconds: figure,
    /** p99 of |c_i - c_(i-1) - T|, c_i the answers to requests sent each T, the deadline; null without one. */
    completionP99Seconds: figure,
  }),
  /** Mann-Whitney against the reference's times, over medians of blocks of requests; for one look. */
  speedTest: z
    .strictObject({
      blocks: count,
      referenceBlocks: count,
      pValue: z.number(),
      /** Hodges-Lehmann: how much slower, with its 95 % interval; null where the blocks are too few for one. */
      shiftSeconds: z.number(),
      shiftLowerSeconds: figure,
      shiftUpperSeconds: figure,
      /** Effect size: how often a block of this one is slower than a block of the reference. */
      slowerShareRatio: z.number(),
    })
    .nullable(),
  accuracy: z.strictObject({ clean: figure, corrupted: figure }),
  labelled: z.array(
    z.strictObject({
      set: z.string(),
      samples: count,
      correct: count,
      /** Inputs that the reference had right and this engine wrong, and the opposite. */
      negativeFlips: count.nullable(),
      positiveFlips: count.nullable(),
      /** NFR, with its Clopper-Pearson bound, one-sided, 95 %. */
      negativeFlipRatio: figure,
      negativeFlipUpperBoundRatio: figure,
      /** This one's accuracy less the reference's. */
      accuracyDeltaRatio: figure,
      /** McNemar's exact test, two-sided. */
      mcnemarPValue: figure,
    }),
  ),
  realTime: z
    .strictObject({
      deadlineSeconds: z.number(),
      requests: count,
      misses: count,
      missRatio: figure,
      /** Clopper-Pearson, one-sided, 95 %, from `boundRequests` of the requests: live, one of every block of time. */
      missUpperBoundRatio: figure,
      boundRequests: count,
      longestMissRun: count.nullable(),
      /** m of (m, k): most misses in any `windowRequests` in a row. */
      mostMissesInWindow: count.nullable(),
      windowRequests: count.nullable(),
      highWaterMarkSeconds: figure,
      /** (deadline - p99 upper bound) / deadline. */
      marginRatio: figure,
      /** MLPerf's early stopping: p99 within the deadline, 99 % confident. */
      certifiedP99: z.boolean().nullable(),
    })
    .nullable(),
  /** Processor time of the engine's host over its timed requests: the engine, and taking the request and answering it. */
  cpu: z
    .strictObject({
      requests: count,
      secondsPerRequest: z.number(),
      /** Over the engine's own time: how many cores it keeps busy meanwhile. */
      coresBusy: figure,
    })
    .nullable(),
  /** Streams of one frame a period that it holds, sent by the clock; null where it was not tried. */
  streams: z
    .strictObject({
      /** The model's deadline: when the next frame comes, and how late an answer may be. */
      periodSeconds: z.number(),
      /** deadlineMissRatio's threshold. */
      targetMissRatio: z.number(),
      /** The most that met the target, and the fewest that did not; null where none was found. */
      held: streamsStepSchema.nullable(),
      notHeld: streamsStepSchema.nullable(),
      /** Why the fewest that did not are not known, so that more than those held may be. */
      unknownReason: z.string().nullable(),
    })
    .nullable(),
  selfChecks: z.array(
    z.strictObject({
      /** rows: equal rows of a batch, where the engine takes batches. */
      check: z.enum(["rerun", "process", "rows"]),
      samples: count,
      bitEqual: count,
      /** Outside the tolerance or with another decision. */
      disagreements: count,
    }),
  ),
  /** Fine buckets of the latencies: upper edges and counts. */
  distribution: z.strictObject({ upperEdgesSeconds: z.array(z.number()), counts: z.array(count) }).nullable(),
  /** Every time in the order measured. */
  seriesSeconds: z.array(z.number()).nullable(),
  replay: z.strictObject({ command: z.string().nullable(), note: z.string().nullable() }),
});

const pairSchema = z.strictObject({
  reference: z.string(),
  candidate: z.string(),
  samples: count,
  bitEqual: count,
  within: count,
  diverged: count,
  invalid: count,
  /** Of the samples, those whose decision could be read; flips are among them. */
  decided: count,
  flips: count,
  /** Clopper-Pearson, one-sided, 95 %; null where the inputs are no independent sample, as live ones. */
  flipUpperBoundRatio: figure,
  maxAbs: figure,
  /** Units in the last place: the worst input's p99 over its elements. */
  ulpP99: figure,
  minCosine: figure,
  /** Jensen-Shannon, in nats, at most ln 2. */
  maxJsNats: figure,
  /** Inputs whose margin is so small that the difference could have changed the class. */
  flipExposed: count.nullable(),
  /** Of the task detection, over all inputs: detections of either side, pairs of the same class that match in place. */
  detection: z
    .strictObject({
      reference: count,
      candidate: count,
      matched: count,
      /** Without a partner of the same class, on either side. */
      changed: count,
      classFlips: count,
      /** Over matched pairs; null without any. */
      maxScoreDifference: figure,
      minIouRatio: figure,
    })
    .nullable(),
  /** Of the task segmentation: pixels whose class changed, over all inputs and in the worst one. */
  segmentation: z.strictObject({ pixels: count, flips: count, worstInputFlipRatio: figure }).nullable(),
  /** Of the first input outside the tolerance. */
  reason: z.string().nullable(),
  /** Why decisions could not be read: an audit's first one, a gateway's last. */
  undecidedReason: z.string().nullable(),
});

const buildsSchema = z.strictObject({
  compiler: z.string(),
  precision: z.string(),
  engines: z.array(z.string()),
  /** X1: the slowest build's quantile over the fastest's. */
  p50SpreadRatio: figure,
  p99SpreadRatio: figure,
  /** X2, ICC: share of the latency's variance that the build decides. */
  betweenBuildShareRatio: figure,
  distinctFingerprints: count,
  distinctArtifacts: count,
  /** Builds that are bit-equal on every input are one function. */
  distinctFunctions: count.nullable(),
  /** Rules that some builds pass and others fail. */
  verdictsChangedByBuild: z.array(z.string()),
});

const rebuildSchema = z.strictObject({
  /** sameSettings: one compile command, more than one build. replay: from the log or cache that the engine left. */
  how: z.enum(["sameSettings", "replay"]),
  engine: z.string(),
  again: z.string(),
  fingerprintEqual: z.boolean(),
  artifactEqual: z.boolean(),
  /** Of the tuning log or timing cache; null where one of them has none. */
  logEqual: z.boolean().nullable(),
  /** Inputs that both answered, and those on which every output was the same bytes. */
  samples: count,
  bitEqual: count,
});

const worstInputSchema = z.strictObject({
  input: z.string(),
  set: z.string(),
  label: figure,
  engine: z.string(),
  flip: z.boolean(),
  result: z.string(),
  maxAbs: figure,
  cosine: figure,
  /** Between the reference's best two classes. */
  margin: figure,
});

const rankingSchema = z.strictObject({
  /** Best first. */
  compilers: z.array(
    z.strictObject({
      compiler: z.string(),
      precision: z.string(),
      engines: z.array(z.string()),
      bestEngine: z.string(),
      verdict: outcome,
      missRatio: figure,
      flipRatio: figure,
      p99SpreadRatio: figure,
      betweenBuildShareRatio: figure,
      p99Seconds: figure,
      /** Why it stands before the next one. */
      reason: z.string(),
    }),
  ),
  /** Criteria in the order applied, and those left out. */
  criteria: z.array(z.string()),
  /** Mean agreement of the compilers' order by p99 between builds; null with one compiler or single builds. */
  kendallTau: figure,
  recommendation: z.strictObject({ engine: z.string().nullable(), reason: z.string() }),
});

export type Report = z.output<typeof reportSchema>;
export type ReportEngine = Report["engines"][number];
export type ReportVerdict = ReportEngine["verdicts"][number];
export type ReportPair = Report["pairs"][number];
export type Outcome = Report["verdict"];
