import type { BuildPair, BuildRow, Lottery } from "../building/lottery.ts";
import { shortSeconds } from "./build-progress.ts";
import { table } from "./table.ts";
import { share } from "./words.ts";

/** A lottery with the way to make its best build again, or why there is none. */
export type LotteryReport = Lottery & { readonly replay: string | null; readonly replayNote: string | null };

/** The reports as text: a table of builds, the matrix of outputs, the spread and the best build of each. */
export function lotteryText(reports: readonly LotteryReport[]): string {
  return reports.map(oneLottery).join("\n\n");
}

function oneLottery(report: LotteryReport): string {
  const { compiler, precision, builds, inputs, runs } = report;
  return [
    `${compiler} ${precision}: ${builds.length} builds with the same settings, ${inputs} inputs, ${runs} timed requests each`,
    buildsTable(builds),
    `Outputs, each row against each column: share of inputs bit-equal, largest difference, changed decisions (f)\n${[matrix(builds, report.pairs), ...unread(report.pairs)].join("\n")}`,
    summary(report),
    `Best by p99: ${report.best}. ${report.replay === null ? `No replay: ${report.replayNote}.` : `To make it again:\n  ${report.replay}`}`,
  ].join("\n\n");
}

function buildsTable(builds: readonly BuildRow[]): string {
  const head = [
    "build",
    "artifact",
    "fingerprint",
    "function",
    "p50",
    "p99",
    "p99 at most",
    "ipdv p99",
    "size kB",
    "built s",
  ];
  const rows = builds.map((build) => [
    build.id,
    build.artifactSha256.slice(0, 10),
    build.fingerprint.slice(0, 10),
    build.function,
    shortSeconds(build.p50Seconds),
    shortSeconds(build.p99Seconds),
    build.p99UpperBoundSeconds === null ? "-" : shortSeconds(build.p99UpperBoundSeconds),
    shortSeconds(build.jitter.ipdvP99Seconds),
    (build.artifactBytes / 1000).toFixed(0),
    build.buildSeconds.toFixed(1),
  ]);
  return table([head, ...rows]);
}

function matrix(builds: readonly BuildRow[], pairs: readonly BuildPair[]): string {
  const cell = (a: string, b: string): string => {
    if (a === b) return "=";
    const pair = pairs.find((one) => (one.a === a && one.b === b) || (one.a === b && one.b === a));
    if (pair === undefined) return "";
    const { bitEqual, samples, maxAbs, flips, undecided } = pair;
    if (bitEqual === samples) return "100 %";
    const changed = undecided === samples ? "-" : flips;
    const read = undecided === 0 || undecided === samples ? "" : ` of ${samples - undecided}`;
    return `${share(bitEqual, samples)}, ${maxAbs.toExponential(1)}, ${changed} f${read}`;
  };
  const ids = builds.map((build) => build.id);
  return table([["", ...ids], ...ids.map((a) => [a, ...ids.map((b) => cell(a, b))])]);
}

/** A line for each reason, of the pair that it struck most. */
function unread(pairs: readonly BuildPair[]): string[] {
  const reasons = new Set(pairs.flatMap((pair) => (pair.undecided > 0 ? [pair.undecidedReason] : [])));
  return [...reasons].map((reason) => {
    const counts = pairs.map((pair) => (pair.undecidedReason === reason ? pair.undecided : 0));
    const upTo = Math.min(...counts) === Math.max(...counts) ? "" : "up to ";
    return `Decisions not read on ${upTo}${Math.max(...counts)} of ${pairs[0]?.samples} inputs: ${reason}`;
  });
}

function summary({
  builds,
  distinctFunctions,
  distinctFingerprints,
  distinctArtifacts,
  spread,
}: Lottery): string {
  const n = builds.length;
  const icc = Number.isNaN(spread.betweenBuildShare)
    ? "-"
    : `${(100 * spread.betweenBuildShare).toFixed(0)} %`;
  return [
    `Distinct functions: ${distinctFunctions} of ${n}; fingerprints: ${distinctFingerprints} of ${n}; artifacts: ${distinctArtifacts} of ${n}.`,
    `Spread between builds: p50 x ${spread.p50Ratio.toFixed(3)}, p99 x ${spread.p99Ratio.toFixed(3)} (slowest over fastest).`,
    `Share of the latency's variance that the build decides: ${icc}.`,
  ].join("\n");
}
