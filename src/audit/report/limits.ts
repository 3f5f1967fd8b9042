import type { Report } from "./schema.ts";

/**
 * What a reader must not conclude.
 * @param inTurns engines that share a GPU in turns were measured beside each other
 */
export function limits(kind: Report["kind"], { inTurns = false } = {}): string[] {
  const common = [
    "This is a measurement, not a safety certification, and claims conformity with no standard.",
    "Every figure was measured on this machine at this time; none is taken from a publication.",
    "Verdicts hold for inputs like those seen, and thresholds are the user's (policy.rules of model.yaml).",
  ];
  const own =
    kind === "offline"
      ? [
          "Times are service times inside the engine, one request at a time; waiting and transport are in the live report.",
          "Every request is one observation; one that failed is a missed deadline. Bounds on rates (misses, flips, errors) " +
            "take them as independent: misses that come in bursts make them too narrow, see the longest run of misses.",
          "Percentile and Clopper-Pearson bounds, McNemar's and Mann-Whitney's tests are for one look at this sample and are " +
            "not corrected for the number of engines; the verdicts' bounds hold at any number of looks.",
        ]
      : [
          "The active engine's deadline figures are from receipt to reply, from the take-over on where another engine was lost; " +
            "shadow runs are timed inside the engine: the two are not compared.",
          "Of every block of time (policy.blockMs) one observation is counted, so that bursts do not narrow the bounds. The " +
            "bound on misses is for one look; a request that the engine failed on is a missed deadline, even if another engine answered it.",
          "Divergence figures cover the last five minutes, counts everything since the gateway started.",
        ];
  const gpu = inTurns
    ? [
        "Engines ran in processes of their own that have the GPU in turns: a time may include switching the GPU to the process, " +
          "which an engine served alone does not pay. Under NVIDIA's MPS (nvidia-cuda-mps-control -d) it is without.",
      ]
    : [];
  return [...common, ...own, ...gpu];
}

type Row = Report["notApplicable"][number];

/** Tables of an acceptance report that this one leaves out, each with its reason. */
export function notApplicable(
  report: Pick<Report, "kind" | "platform" | "engines" | "model" | "rebuilds">,
): Report["notApplicable"] {
  return [...open(report), ...(report.kind === "live" ? onlyOffline : notOffline(report)), ...never];
}

/** What this model, machine or audit could have answered. */
function open({ platform, model }: Pick<Report, "platform" | "model">): Row[] {
  const rows: Row[] = [];
  if (model.deadlineSeconds === null)
    rows.push({ table: "Real time", reason: "model.yaml names no deadline; add deadlineMs" });
  if (platform.gpus.length === 0)
    rows.push({ table: "GPU utilisation", reason: "no GPU or board on this machine gives readings" });
  return rows;
}

function notOffline({ engines, model, rebuilds }: Pick<Report, "engines" | "model" | "rebuilds">): Row[] {
  const rows: Row[] = [];
  if (engines.every(({ labelled }) => labelled.length === 0))
    rows.push({ table: "Accuracy, negative flips", reason: "no input has a label" });
  if (engines.length > 1 && engines.every((engine) => engine.speedTest === null))
    rows.push({ table: "Mann-Whitney", reason: "needs 100 answered requests of candidate and reference" });
  if (engines.every(({ selfChecks }) => selfChecks.every(({ check }) => check !== "rows")))
    rows.push({ table: "Batch slots", reason: "no engine here takes batches that answer row by row" });
  if (engines.every(({ cpu }) => cpu === null))
    rows.push({
      table: "Processor time",
      reason: "needs /proc and a tenth of a second of it in one host process; give more --runs",
    });
  if (model.deadlineSeconds !== null && engines.every(({ streams }) => streams === null))
    rows.push({
      table: "Most streams within the deadline",
      reason: "not looked for; give --streams SECONDS",
    });
  if (rebuilds.length === 0)
    rows.push({
      table: "Rebuild check",
      reason:
        "no two builds with the same settings and no replay of a log are among these engines; build by the " +
        "commands under Reproduce and audit both builds",
    });
  rows.push({
    table: "Restarts",
    reason: "each engine was timed in one process; audit again to see what a restart changes",
  });
  return rows;
}

const onlyOffline: readonly Row[] = [
  { table: "Builds", reason: "spread between builds needs them timed side by side: crosscheck audit" },
  { table: "Worst inputs", reason: "served inputs are not kept; record them and run crosscheck audit" },
  { table: "Time series", reason: "live times are kept as histograms, in constant memory" },
  {
    table: "GFLOP, processor time, most streams, rebuild check",
    reason: "counted or measured by crosscheck audit",
  },
  { table: "Bound on flips", reason: "live inputs follow each other (video); flipRatio has the bound" },
];

/** What no report has. */
const never: readonly Row[] = [
  { table: "Cross-device", reason: "needs engines of one model run on several devices; this is one machine" },
  {
    table: "Kernels",
    reason: "runtimes here do not tell their kernels one by one; fingerprints stand for them",
  },
  {
    table: "pWCET",
    reason:
      "extreme-value estimates need tests of stationarity that shared machines rarely pass; not attempted",
  },
  { table: "Modes", reason: "no test for two modes is made; the distribution shows them" },
  {
    table: "Parameters, memory bandwidth",
    reason: "not counted or measured; sizes and times stand for them",
  },
  { table: "Peak memory", reason: "resident memory is read once, when the figures were complete" },
  {
    table: "Clocks",
    reason:
      "one pass at clocks as they were, ambient temperature unknown: locking them takes rights over the machine that an " +
      "audit does not ask for; lock them (nvidia-smi -lgc, jetson_clocks, cpupower) and audit again to compare",
  },
];
