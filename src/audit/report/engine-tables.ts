import { type Cell, code, outcome, table, type TableBlock, words } from "./blocks.ts";
import { percent, plain, points, seconds, share, signed, times } from "./figures.ts";
import type { Report, ReportEngine } from "./schema.ts";

/** Speed and accuracy of every engine, and what changed against the reference on labelled inputs. */
export function gainTables({ engines, pairs, model }: Report): TableBlock[] {
  const flips = (id: string): string => {
    const pair = pairs.find((one) => one.reference === model.reference && one.candidate === id);
    return pair === undefined ? "-" : share(pair.flips, pair.decided);
  };
  const gain: TableBlock = {
    type: "table",
    caption: "Engines",
    head: [
      "engine",
      "role",
      "verdict",
      "p50",
      "p90",
      "p99",
      "p99.9",
      "max",
      "per second",
      "speedup",
      "flips",
      "clean",
      "corrupted",
    ],
    rows: engines.map((engine) => {
      const { id, role, verdict, latency, accuracy } = engine;
      return [
        code(id),
        role,
        outcome(verdict),
        seconds(latency.p50Seconds),
        seconds(latency.p90Seconds),
        seconds(latency.p99Seconds),
        seconds(latency.p999Seconds),
        seconds(latency.maxSeconds),
        latency.requestsPerSecond === null ? "-" : plain(Math.round(latency.requestsPerSecond)),
        speedup(latency),
        flips(id),
        percent(accuracy.clean),
        percent(accuracy.corrupted),
      ];
    }),
  };
  const labelled = engines.flatMap(({ id, labelled }) =>
    labelled.map((one): Cell[] => [
      code(id),
      one.set,
      share(one.correct, one.samples),
      percent(one.samples === 0 ? null : one.correct / one.samples),
      points(one.accuracyDeltaRatio),
      one.negativeFlips === null ? "-" : String(one.negativeFlips),
      percent(one.negativeFlipRatio),
      percent(one.negativeFlipUpperBoundRatio),
      one.positiveFlips === null ? "-" : String(one.positiveFlips),
      plain(one.mcnemarPValue),
    ]),
  );
  const broken = engines.filter(({ error, failures }) => error !== null || failures > 0);
  return [
    gain,
    ...table("Labelled inputs against the reference", labelled, [
      "engine",
      "set",
      "right",
      "accuracy",
      "against reference",
      "negative flips",
      "NFR",
      "NFR at most (95 %)",
      "positive flips",
      "McNemar p",
    ]),
    ...speedTable(engines),
    ...table(
      "Failures",
      broken.map(({ id, failures, error }): Cell[] => [
        code(id),
        String(failures),
        words(error ?? "some inputs"),
      ]),
      ["engine", "failed requests", "reason"],
    ),
  ];
}

/** The factor, and between what it lies with 95 % confidence. */
function speedup({
  speedupRatio,
  speedupLowerRatio: lower,
  speedupUpperRatio: upper,
}: ReportEngine["latency"]): string {
  if (lower === null || upper === null) return times(speedupRatio);
  return `${times(speedupRatio)} (${times(lower)} to ${times(upper)})`;
}

/** Mann-Whitney with the Hodges-Lehmann shift. */
function speedTable(engines: Report["engines"]): TableBlock[] {
  const rows = engines.flatMap(({ id, speedTest: test }): Cell[][] =>
    test === null
      ? []
      : [
          [
            code(id),
            String(test.blocks),
            signed(test.shiftSeconds),
            `${signed(test.shiftLowerSeconds)} .. ${signed(test.shiftUpperSeconds)}`,
            percent(test.slowerShareRatio),
            plain(test.pValue),
          ],
        ],
  );
  return table("Slower than the reference? Medians of blocks of requests", rows, [
    "engine",
    "blocks",
    "slower by",
    "95 %",
    "blocks slower",
    "Mann-Whitney p",
  ]);
}

export function realTimeTables({ engines }: Report): TableBlock[] {
  const rows = engines.flatMap(({ id, realTime: rt }) =>
    rt === null
      ? []
      : [
          [
            code(id),
            seconds(rt.deadlineSeconds),
            share(rt.misses, rt.requests),
            rt.missUpperBoundRatio === null
              ? "-"
              : `${percent(rt.missUpperBoundRatio)} (of ${rt.boundRequests})`,
            rt.longestMissRun === null ? "-" : String(rt.longestMissRun),
            rt.mostMissesInWindow === null ? "-" : `(${rt.mostMissesInWindow}, ${rt.windowRequests})`,
            seconds(rt.highWaterMarkSeconds),
            percent(rt.marginRatio),
            rt.certifiedP99 === null ? "-" : rt.certifiedP99 ? "yes" : "no",
          ],
        ],
  );
  return table("Deadline", rows, [
    "engine",
    "deadline",
    "missed",
    "at most (95 %)",
    "longest run",
    "(m, k)",
    "high-water mark",
    "margin at p99",
    "p99 certified",
  ]);
}

export function buildTables({ engines, builds }: Report): TableBlock[] {
  const rows = engines.map((engine: ReportEngine): Cell[] => {
    const { latency, jitter } = engine;
    return [
      code(engine.id),
      seconds(latency.p50Seconds),
      seconds(latency.p99Seconds),
      seconds(latency.p99UpperBoundSeconds),
      percent(latency.variationRatio),
      seconds(jitter.pdvP99Seconds),
      seconds(jitter.ipdvP99Seconds),
      seconds(jitter.iqrSeconds),
      seconds(jitter.peakToPeakSeconds),
      seconds(jitter.completionP99Seconds),
      engine.realTime === null ? "-" : percent(engine.realTime.missRatio),
      code(engine.fingerprint.slice(0, 10)),
      engine.buildSeconds.toFixed(1),
    ];
  });
  const groups = builds.map((group): Cell[] => [
    group.precision === "fp32" ? group.compiler : `${group.compiler} ${group.precision}`,
    words(group.engines.join(", ")),
    group.p50SpreadRatio === null ? "-" : group.p50SpreadRatio.toFixed(3),
    group.p99SpreadRatio === null ? "-" : group.p99SpreadRatio.toFixed(3),
    percent(group.betweenBuildShareRatio),
    String(group.distinctFingerprints),
    String(group.distinctArtifacts),
    group.distinctFunctions === null ? "-" : String(group.distinctFunctions),
    group.verdictsChangedByBuild.join(", ") || "none",
  ]);
  return [
    ...table("Each build", rows, [
      "engine",
      "p50",
      "p99",
      "p99 at most (95 %)",
      "CV",
      "PDV p99",
      "IPDV p99",
      "IQR",
      "peak to peak",
      "completion p99",
      "missed",
      "fingerprint",
      "built in s",
    ]),
    ...table("Builds made alike", groups, [
      "compiler",
      "builds",
      "X1 p50",
      "X1 p99",
      "ICC",
      "fingerprints",
      "artifacts",
      "functions",
      "verdicts that the build changes",
    ]),
  ];
}

export function selfCheckTables({ engines }: Report): TableBlock[] {
  const rows = engines.flatMap(({ id, selfChecks }) =>
    selfChecks.map((one): Cell[] => [
      code(id),
      { rerun: "again, same process", process: "another process", rows: "equal rows of a batch" }[one.check],
      share(one.bitEqual, one.samples),
      String(one.disagreements),
    ]),
  );
  return table("Asked again", rows, ["engine", "how", "bit-equal", "disagreements"]);
}
