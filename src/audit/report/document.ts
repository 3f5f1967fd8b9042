import { type Block, type Cell, code, command, outcome, table, type TableBlock, words } from "./blocks.ts";
import { percent, plain, seconds, share } from "./figures.ts";
import { buildTables, gainTables, realTimeTables, selfCheckTables } from "./engine-tables.ts";
import { outputTables, worstInputTable } from "./output-tables.ts";
import { modelTables, platformTables, utilisationTables } from "./machine-tables.ts";
import type { Outcome, Report, ReportVerdict } from "./schema.ts";

/** A report in words and tables, before any format. */
export interface ReportDocument {
  readonly title: string;
  readonly verdict: Outcome;
  readonly verdictReason: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly sections: readonly Section[];
}

export interface Section {
  readonly title: string;
  /** What the section answers, for a reader who does not know the terms. */
  readonly lead: string;
  readonly blocks: readonly Block[];
}

export function describe(report: Report): ReportDocument {
  const { model, kind, dataset, run } = report;
  const facts: [string, string][] = [
    ["Model", `${model.name} (${model.task})`],
    ["Reference", model.reference ?? "none"],
    ["Device", [...new Set(report.engines.map(({ device }) => device))].join(", ") || "-"],
    ["Deadline", seconds(model.deadlineSeconds)],
  ];
  if (dataset !== null) facts.push(["Inputs", `${dataset.inputs} (${dataset.source})`]);
  if (run !== null)
    facts.push(["Timed requests", `${run.requestsPerEngine} per engine, in ${seconds(run.seconds)}`]);
  facts.push([
    "Made",
    `${report.generatedAt.slice(0, 19).replace("T", " ")} UTC, Crosscheck ${report.crosscheckVersion}`,
  ]);
  return {
    title: kind === "offline" ? `Audit of ${model.name}` : `Live report on ${model.name}`,
    verdict: report.verdict,
    verdictReason: report.verdictReason,
    facts,
    sections: sections(report).filter(({ blocks }) => blocks.length > 0),
  };
}

function sections(report: Report): Section[] {
  return [
    rankingSection(report),
    section(
      "Gain",
      "What each engine brings in speed, and what it costs in right answers.",
      gainTables(report),
    ),
    {
      title: "Latency",
      lead: "How the times are spread, and how they went over the run. A tail or a step is what a deadline meets.",
      blocks: [{ type: "pictures" }],
    },
    section(
      "Real time",
      "Whether answers come in time: misses with their upper bound, the longest run of misses, and what is left of the deadline.",
      realTimeTables(report),
    ),
    section(
      "Builds",
      "How much builds of one compiler with the same settings differ: a build is a draw in a lottery.",
      buildTables(report),
    ),
    section(
      "Outputs",
      "How engines differ on the same inputs. A flip is a changed decision; bit-equal means every byte.",
      outputTables(report),
    ),
    section(
      "Same engine again",
      "Whether an engine agrees with itself, asked again in the same process and in another one.",
      selfCheckTables(report),
    ),
    section("Worst inputs", "Where engines differ most from the reference.", worstInputTable(report)),
    section(
      "Utilisation",
      "What the device gave meanwhile, and how much of it each engine takes.",
      utilisationTables(report),
    ),
    statementSection(report),
    reproduceSection(report),
    section("Model and platform", "What was audited, and on what.", [
      ...modelTables(report),
      ...platformTables(report),
    ]),
    {
      title: "Not answered here",
      lead: "Tables that do not apply to this audit.",
      blocks: [
        { type: "list", items: report.notApplicable.map(({ table, reason }) => `${table}: ${reason}.`) },
      ],
    },
    {
      title: "Limits",
      lead: "What must not be concluded from this report.",
      blocks: [{ type: "list", items: report.limits }],
    },
  ];
}

function section(title: string, lead: string, blocks: readonly Block[]): Section {
  return { title, lead, blocks };
}

function rankingSection({ ranking }: Report): Section {
  const lead = "Which compiler for this model on this device, and why.";
  if (ranking === null) return section("Compilers", lead, []);
  const { compilers, criteria, kendallTau, recommendation } = ranking;
  const rank: TableBlock = {
    type: "table",
    caption: "Compilers, best first",
    head: ["", "compiler", "best engine", "verdict", "missed", "flips", "X1 p99", "ICC", "p99", "why here"],
    rows: compilers.map((row, i) => [
      String(i + 1),
      row.precision === "fp32" ? row.compiler : `${row.compiler} ${row.precision}`,
      code(row.bestEngine),
      outcome(row.verdict),
      percent(row.missRatio),
      percent(row.flipRatio),
      row.p99SpreadRatio === null ? "-" : row.p99SpreadRatio.toFixed(3),
      percent(row.betweenBuildShareRatio),
      seconds(row.p99Seconds),
      words(row.reason),
    ]),
  };
  const tau =
    kendallTau === null
      ? "Whether the order holds from build to build (Kendall's tau) needs two compilers with two builds each."
      : `Agreement of the order by p99 between builds, Kendall's tau: ${kendallTau.toFixed(2)} (1: the same in every build).`;
  const lead1 =
    recommendation.engine === null
      ? `No recommendation: ${recommendation.reason}.`
      : `Recommended: ${recommendation.reason}`;
  return section("Compilers", lead, [
    { type: "text", text: lead1 },
    rank,
    { type: "text", text: `Criteria in this order: ${criteria.join("; ")}. ${tau}` },
  ]);
}

const sources: Readonly<Record<ReportVerdict["source"], string>> = {
  requests: "requests",
  pairs: "pairs",
  inputs: "outputs",
  live: "live",
  shadow: "shadow",
  comparison: "outputs",
  device: "device",
  load: "loading",
  selfChecks: "itself",
};
const scopes: Readonly<Record<ReportVerdict["scope"], string>> = {
  whole: "whole",
  recent: "latest",
  afterIdle: "after idle",
};

function statementSection({ engines, verdict, run }: Report): Section {
  const rows = engines.flatMap(({ id, verdicts }) =>
    verdicts.map((one): Cell[] => [
      code(id),
      one.rule,
      outcome(one.verdict),
      plain(one.value),
      plain(one.threshold),
      one.lower === null && one.upper === null ? "-" : `${plain(one.lower)} .. ${plain(one.upper)}`,
      `${one.have} ${one.unit}`,
      sources[one.source],
      scopes[one.scope],
      one.verdict === "inconclusive" ? (one.need === null ? "no number" : String(one.need)) : "",
      one.alpha === 0 ? "-" : plain(one.alpha),
      words(one.reason),
    ]),
  );
  const digest =
    run === null ? [] : [{ type: "text", text: `SHA-256 of all raw times: ${run.samplesSha256}` } as const];
  return section(
    "Statement",
    "Every requirement with its threshold, the bounds on what was seen, and the verdict. From: timed requests, pairs with the reference or the active engine, compared outputs, the device, or the engine against itself. Part: the whole evidence, its latest epoch, or what follows idle pauses.",
    [
      { type: "text", text: `Overall: ${verdict.toUpperCase()}.` },
      {
        type: "table",
        caption: "Requirements",
        head: [
          "engine",
          "requirement",
          "verdict",
          "value",
          "threshold",
          "bounds",
          "seen",
          "from",
          "part",
          "needs more",
          "alpha",
          "in words",
        ],
        rows,
      },
      ...digest,
    ],
  );
}

function reproduceSection({ engines, run, rebuilds }: Report): Section {
  const rows = engines.map(({ id, replay, fingerprint, artifactSha256 }): Cell[] => [
    code(id),
    code(fingerprint.slice(0, 16)),
    code(artifactSha256.slice(0, 16)),
    replay.command === null ? "-" : command(replay.command),
    words(replay.note ?? ""),
  ]);
  const seed =
    run === null
      ? []
      : [
          {
            type: "text",
            text: `Seed of the random order: ${run.seed}. Times themselves do not come again.`,
          } as const,
        ];
  const equal = (same: boolean | null): string => (same === null ? "-" : same ? "equal" : "differs");
  const checks = rebuilds.map((one): Cell[] => [
    code(one.engine),
    code(one.again),
    one.how === "replay" ? "its log replayed" : "same settings",
    equal(one.fingerprintEqual),
    equal(one.artifactEqual),
    equal(one.logEqual),
    share(one.bitEqual, one.samples),
  ]);
  return section("Reproduce", "How each engine is made again, and how to tell that it is the same one.", [
    {
      type: "table",
      caption: "Replay",
      head: ["engine", "fingerprint", "artifact SHA-256", "made again by", "note"],
      rows,
    },
    ...table("Built again", checks, [
      "engine",
      "again as",
      "how",
      "fingerprint",
      "artifact",
      "log or cache",
      "inputs bit-equal",
    ]),
    ...seed,
  ]);
}
