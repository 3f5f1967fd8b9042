import type { Platform } from "./platform.ts";
import type { Report } from "./schema.ts";

/** What a reader must not conclude. */
export function limits(kind: Report["kind"]): string[] {
  const common = [
    "This is a measurement, not a safety certification, and claims conformity with no standard.",
    "Every figure was measured on this machine at this time; none is taken from a publication.",
    "Verdicts hold for inputs like those seen, and thresholds are the user's (policy.rules of model.yaml).",
  ];
  const own =
    kind === "offline"
      ? [
          "Times are service times inside the engine, one request at a time; waiting and transport are in the live report.",
          "Every request is one observation. Bounds on rates (misses, flips, errors) take them as independent: misses " +
            "that come in bursts make them too narrow, see the longest run of misses.",
          "Percentile bounds and McNemar's test are for one look at this sample; the verdicts' bounds hold at any number of looks.",
        ]
      : [
          "The active engine's deadline figures are from receipt to reply, shadow runs are timed inside the engine: the two are not compared.",
          "Of every block of time (policy.blockMs) one observation is counted, so that bursts do not narrow the bounds.",
          "Divergence figures cover the last five minutes, counts everything since the gateway started.",
        ];
  return [...common, ...own];
}

/** Tables of an acceptance report that this one leaves out, each with its reason. */
export function notApplicable(kind: Report["kind"], platform: Platform): Report["notApplicable"] {
  const rows = [
    {
      table: "Cross-device",
      reason: "needs engines of one model run on several devices; this is one machine",
    },
    {
      table: "Kernels",
      reason: "runtimes here do not tell their kernels one by one; fingerprints stand for them",
    },
    {
      table: "pWCET",
      reason:
        "extreme-value estimates need tests of stationarity that shared machines rarely pass; not attempted",
    },
  ];
  if (platform.gpus.length === 0)
    rows.push({ table: "Utilisation", reason: "no GPU or board on this machine gives readings" });
  if (kind === "live")
    rows.push(
      { table: "Builds", reason: "spread between builds needs them timed side by side: crosscheck audit" },
      { table: "Worst inputs", reason: "served inputs are not kept; record them and run crosscheck audit" },
      { table: "Time series", reason: "live times are kept as histograms, in constant memory" },
    );
  return rows;
}
