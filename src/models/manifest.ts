import { z } from "zod";

/**
 * The two files of a model repository, as interface.md words them: `model.yaml` (what the user says of a model) and
 * `engine.yaml` (what compile wrote of an engine). Unknown keys are refused by core/yaml-file.ts.
 */
export const nameSchema = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, "must be 1 to 64 letters, digits, '.', '_' or '-'")
  .refine((name) => !/^\.+$/.test(name), "must not be dots alone");

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, "must be a SHA-256 digest in lower-case hexadecimal");
const ratio = z.number().min(0).max(1);
const positive = z.number().positive();
const count = z.int().nonnegative();

/** A path inside the model's or engine's own folder; escapes are refused when it is opened too (symlinks). */
const innerPath = z
  .string()
  .min(1)
  .refine((path) => !path.startsWith("/") && !path.split("/").includes(".."), "must stay inside its folder");

export const taskSchema = z.enum(["classification", "detection", "segmentation", "regression", "tensor"]);

const toleranceLimits = {
  abs: z.number().nonnegative().optional(),
  rel: z.number().nonnegative().optional(),
  cosine: z.number().min(-1).max(1).optional(),
  /** polygraphy: an element fails when abs AND rel are exceeded; numpy: when |a-b| > abs + rel*|b|. */
  rule: z.enum(["polygraphy", "numpy"]).optional(),
};

export const toleranceSchema = z.strictObject({
  ...toleranceLimits,
  outputs: z.record(z.string(), z.strictObject(toleranceLimits)).optional(),
});

export const ruleNames = [
  "deadlineMissRatio",
  "latencyP99Ratio",
  "jitterRatio",
  "pairedSlowdown",
  "flipRatio",
  "divergence",
  "errorRatio",
  "deviceHealth",
] as const;

/** Rules whose value is a share; those of the others are ratios of latencies. */
const shares: ReadonlySet<RuleName> = new Set([
  "deadlineMissRatio",
  "flipRatio",
  "divergence",
  "errorRatio",
  "deviceHealth",
]);

const ruleSchema = z
  .strictObject({
    rule: z.enum(ruleNames),
    /** Largest value that passes; each rule has its own unit and default (src/audit/rules). */
    threshold: z.number().nonnegative().optional(),
  })
  .refine(({ rule, threshold = 0 }) => threshold <= 1 || !shares.has(rule), {
    error: "must have a threshold of at most 1: the rule's value is a share",
  });

export const policySchema = z.strictObject({
  mode: z.enum(["automatic", "advise", "off"]).default("advise"),
  /** Seconds between two decisions. */
  interval: positive.default(10),
  initialDelaySeconds: z.number().nonnegative().default(30),
  minSamples: count.default(300),
  failureLimit: count.default(0),
  inconclusiveLimit: count.default(60),
  canary: z
    .strictObject({
      steps: z
        .array(z.number().min(1).max(100))
        .min(1)
        .refine((steps) => steps.every((step, at) => at === 0 || step >= (steps[at - 1] as number)), {
          error: "must not fall from step to step",
        })
        .default([5, 25, 50]),
    })
    .default({ steps: [5, 25, 50] }),
  watchSeconds: z.number().nonnegative().default(300),
  cooldownSeconds: z.number().nonnegative().default(300),
  maxSwitchesPerHour: count.default(4),
  dryRun: z.boolean().default(false),
  alpha: z.number().gt(0).lt(1).default(0.05),
  blockMs: positive.default(1000),
  rules: z
    .array(ruleSchema)
    .min(1)
    .refine((rules) => new Set(rules.map(({ rule }) => rule)).size === rules.length, {
      error: "must name each rule once",
    })
    .optional(),
});

const shadowSchema = z.strictObject({
  sampleRate: ratio.default(1),
  maxQueue: z.int().positive().default(64),
  maxUtilization: ratio.default(0.7),
});

const instancesSchema = z
  .union([
    z
      .int()
      .positive()
      .transform((n) => ({ min: n, max: n })),
    z.strictObject({ min: z.int().positive(), max: z.int().positive() }),
  ])
  .refine(({ min, max }) => min <= max, "min must not be larger than max");

const perChannel = z.union([z.number(), z.array(z.number()).min(1).max(4)]);

const detectionSchema = z.strictObject({
  scores: z.string(),
  boxes: z.string(),
  format: z.enum(["corners", "center"]).default("corners"),
  background: z.int().nonnegative().nullable().optional(),
  scoreThreshold: ratio.default(0.5),
  nmsIou: ratio.default(0.5),
  matchIou: ratio.default(0.5),
});

/** What a detector is taken for that model.yaml says nothing more of. */
const usualDetection: z.output<typeof detectionSchema> = {
  scores: "scores",
  boxes: "boxes",
  format: "corners",
  background: 0,
  scoreThreshold: 0.7,
  nmsIou: 0.3,
  matchIou: 0.5,
};

const modelKeys = z.strictObject({
  name: nameSchema,
  task: taskSchema.default("tensor"),
  labels: z.array(z.string()).optional(),
  reference: nameSchema.optional(),
  active: nameSchema.optional(),
  candidates: z.array(nameSchema).optional(),
  load: z.enum(["eager", "onDemand"]).default("eager"),
  idleUnloadSeconds: z.number().nonnegative().default(0),
  instances: instancesSchema.default({ min: 1, max: 1 }),
  threads: z.int().positive().max(1024).default(1),
  isolation: z.enum(["process", "inline"]).default("process"),
  deadlineMs: positive.optional(),
  timeoutMs: positive.default(30_000),
  watchdogMs: positive.optional(),
  shadow: shadowSchema.default(shadowSchema.parse({})),
  tolerance: toleranceSchema.optional(),
  policy: policySchema.default(policySchema.parse({})),
  record: z.strictObject({ dir: innerPath, maxBytes: z.int().positive().default(100_000_000) }).optional(),
  preprocess: z
    .strictObject({
      /** [height, width] in pixels. */
      size: z.tuple([z.int().positive(), z.int().positive()]),
      color: z.enum(["rgb", "bgr", "gray"]).default("rgb"),
      mean: perChannel.default(0),
      scale: perChannel.default(1),
      layout: z.enum(["nchw", "nhwc"]).default("nchw"),
    })
    .optional(),
  samples: z.strictObject({ clean: innerPath.optional(), corrupted: innerPath.optional() }).optional(),
  detection: detectionSchema.optional(),
});

export const modelSchema = modelKeys.transform((model) =>
  model.task === "detection" && model.detection === undefined
    ? { ...model, detection: usualDetection }
    : model,
);

const fileDigest = z.strictObject({ file: innerPath, sha256: sha256Schema });

export const engineSchema = z.strictObject({
  schema: z.literal(1),
  id: nameSchema,
  model: nameSchema,
  compiler: z.strictObject({ name: z.string(), version: z.string() }),
  build: z.int().positive(),
  precision: z.string(),
  target: z.string().nullable(),
  device: z.looseObject({ kind: z.string(), name: z.string() }),
  threads: z.int().positive(),
  options: z.record(z.string(), z.unknown()),
  seed: z.union([z.number(), z.string()]).nullable(),
  source: fileDigest,
  artifact: fileDigest,
  tuningLog: z.looseObject({ file: innerPath, sha256: sha256Schema }).nullable(),
  timingCache: fileDigest.nullable(),
  fingerprint: z.string(),
  buildSeconds: z.number().nonnegative(),
  /** ISO 8601; YAML readers may hand over a date. */
  builtAt: z.union([z.string(), z.date().transform((date) => date.toISOString())]),
  /** What a family wants on record beside it: tasks hit and fallen back, tactics, driver. */
  notes: z.record(z.string(), z.unknown()).optional(),
});

export type ModelConfig = z.output<typeof modelSchema>;
export type EngineManifest = z.output<typeof engineSchema>;
export type Policy = z.output<typeof policySchema>;
export type Tolerance = z.output<typeof toleranceSchema>;
export type Task = z.output<typeof taskSchema>;
export type RuleName = (typeof ruleNames)[number];
