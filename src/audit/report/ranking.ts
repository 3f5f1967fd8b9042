import { kendallTau } from "../../compare/statistics/rank.ts";
import { worst } from "./conclude.ts";
import { finite, percent, seconds, times } from "./figures.ts";
import type { Outcome, Report, ReportEngine, ReportPair } from "./schema.ts";

type Ranking = NonNullable<Report["ranking"]>;
type Row = Ranking["compilers"][number];

/** A criterion gives each compiler a class or a figure; less is better, equal ones are left to the next criterion. */
interface Criterion {
  readonly name: string;
  readonly key: (row: Ranked) => number | null;
  readonly words: (row: Ranked) => string;
}

interface Ranked extends Omit<Row, "reason"> {
  readonly deadline: Outcome | null;
  readonly flips: Outcome | null;
}

/** Spread between builds up to here counts as none (gate default of the acceptance report). */
const alikeSpread = 1.05;
const alikeShare = 0.5;

/** An open question is not held against anyone. */
const failed = (outcome: Outcome | null) => (outcome === null ? null : outcome === "fail" ? 1 : 0);

/**
 * Compilers in the order of predictability first: whole verdict, deadline, decisions, spread between builds, then
 * speed. Misses and flips count by their verdict, and a spread only where the build decides most of the variance, so
 * that noise decides nothing before speed.
 */
const criteria: readonly Criterion[] = [
  {
    name: "verdict",
    key: ({ verdict }) => failed(verdict),
    words: ({ verdict, engines }) => {
      const whose = engines.length > 1 ? "at its best build " : "";
      return `${whose}${verdict === "fail" ? "fails a requirement" : "fails no requirement"}`;
    },
  },
  {
    name: "deadline-miss ratio",
    key: ({ deadline }) => failed(deadline),
    words: ({ deadline, missRatio }) => `deadline ${deadline ?? "unknown"} (${percent(missRatio)} missed)`,
  },
  {
    name: "flips",
    key: ({ flips }) => failed(flips),
    words: ({ flips, flipRatio }) => `decisions ${flips ?? "unknown"} (${percent(flipRatio)} changed)`,
  },
  {
    name: "X1, spread of p99 between builds",
    key: ({ p99SpreadRatio: x1, betweenBuildShareRatio: icc }) =>
      x1 === null || icc === null ? null : icc > alikeShare && x1 > alikeSpread ? x1 : 1,
    words: ({ p99SpreadRatio }) => `builds that differ by ${times(p99SpreadRatio)} at p99`,
  },
  {
    name: "ICC, share of variance between builds",
    key: ({ betweenBuildShareRatio: icc }) => (icc === null ? null : icc <= alikeShare ? 0 : 1),
    words: ({ betweenBuildShareRatio }) =>
      `${percent(betweenBuildShareRatio)} of the variance decided by the build`,
  },
  {
    name: "speed, p99 of the best build",
    key: ({ p99Seconds }) => p99Seconds,
    words: ({ p99Seconds }) => `p99 ${seconds(p99Seconds)}`,
  },
];

/** Which compiler for this model on this device, and why. */
export function rankCompilers(
  report: Pick<Report, "engines" | "pairs" | "builds" | "model">,
): Ranking | null {
  const groups = compilerGroups(report.engines);
  if (groups.length === 0) return null;
  const rows = groups.map((engines) => toRow(engines, report));
  // A criterion that one of them has no figure for would compare nothing with something.
  const applied = criteria.filter(({ key }) => rows.every((row) => key(row) !== null));
  const ordered = rows.toSorted((a, b) => compare(a, b, applied));
  const leftOut = criteria.filter((one) => !applied.includes(one));
  return {
    compilers: ordered.map((row, i) => publish(row, whyBefore(row, ordered[i + 1], applied))),
    criteria: [
      ...applied.map(({ name }) => name),
      ...leftOut.map(({ name }) => `${name}: left out, not known for every compiler`),
    ],
    kendallTau: rankStability(groups),
    recommendation: recommend(ordered, applied),
  };
}

function compilerGroups(engines: readonly ReportEngine[]): ReportEngine[][] {
  const groups = new Map<string, ReportEngine[]>();
  for (const engine of engines) {
    // Loaded for comparison only: nobody asked what it is worth.
    if (engine.verdict === null || (engine.latency.samples === 0 && engine.error === null)) continue;
    const key = `${engine.compiler} ${engine.precision}`;
    groups.set(key, [...(groups.get(key) ?? []), engine]);
  }
  return [...groups.values()];
}

function toRow(
  engines: readonly ReportEngine[],
  { pairs, builds, model }: Pick<Report, "pairs" | "builds" | "model">,
): Ranked {
  const [first] = engines as [ReportEngine];
  const ids = engines.map(({ id }) => id);
  const best = engines.toSorted(byMerit)[0] as ReportEngine;
  // Of builds made alike: other settings of one compiler are no draw of the same lottery.
  const spread = builds.find((group) => group.engines.includes(best.id));
  const against = pairs.filter((pair) => pair.reference === model.reference && ids.includes(pair.candidate));
  const missed = engines.flatMap(({ realTime }) => (realTime ? [realTime] : []));
  const verdictOn = (rule: string): Outcome | null => {
    const found = engines.flatMap(({ verdicts }) => verdicts.filter((one) => one.rule === rule));
    return found.length === 0 ? null : worst(found.map(({ verdict }) => verdict));
  };
  return {
    compiler: first.compiler,
    precision: first.precision,
    engines: ids,
    bestEngine: best.id,
    // The best build is what would be used; its siblings count in the spread.
    verdict: best.verdict ?? "inconclusive",
    deadline: verdictOn("deadlineMissRatio"),
    // The reference cannot differ from itself.
    flips: ids.every((id) => id === model.reference) ? "pass" : verdictOn("flipRatio"),
    missRatio: ratio(sum(missed.map(({ misses }) => misses)), sum(missed.map(({ requests }) => requests))),
    flipRatio: ratio(sumFlips(against), sum(against.map(({ decided }) => decided))),
    p99SpreadRatio: spread?.p99SpreadRatio ?? null,
    betweenBuildShareRatio: spread?.betweenBuildShareRatio ?? null,
    p99Seconds: best.latency.p99Seconds,
  };
}

function byMerit(a: ReportEngine, b: ReportEngine): number {
  const out = (engine: ReportEngine) => (engine.error !== null || engine.verdict === "fail" ? 1 : 0);
  const tail = (engine: ReportEngine) => engine.latency.p99Seconds ?? engine.latency.maxSeconds ?? Infinity;
  return out(a) - out(b) || tail(a) - tail(b);
}

function compare(a: Ranked, b: Ranked, applied: readonly Criterion[]): number {
  for (const { key } of applied) {
    const order = (key(a) ?? 0) - (key(b) ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}

function whyBefore(row: Ranked, next: Ranked | undefined, applied: readonly Criterion[]): string {
  if (next === undefined) return applied.map(({ words }) => words(row)).join("; ");
  const decisive = applied.find(({ key }) => key(row) !== key(next));
  if (decisive === undefined) return `no criterion tells it from ${title(next)}`;
  return `${decisive.name}: ${decisive.words(row)}, where ${title(next)} ${clause(decisive, next)}`;
}

/** After a compiler's name: a verdict is a verb already, the others are what it has. */
function clause({ name, words }: Criterion, row: Ranked): string {
  return name === "verdict" ? words(row) : `has ${words(row)}`;
}

function publish({ deadline: _deadline, flips: _flips, ...row }: Ranked, reason: string): Row {
  return { ...row, reason };
}

function recommend(ordered: readonly Ranked[], applied: readonly Criterion[]): Ranking["recommendation"] {
  const [first, second] = ordered;
  if (first === undefined || first.verdict === "fail")
    return { engine: null, reason: "every compiler's best engine fails a requirement" };
  const why = second === undefined ? "it is the only compiler audited" : whyBefore(first, second, applied);
  const proof =
    first.verdict === "pass"
      ? first.deadline === "fail" || first.flips === "fail"
        ? "It meets every requirement, but another build of the same compiler does not: use this artifact, do not build it again."
        : "It meets every requirement."
      : "Not every requirement is decided yet: this is the present order, no clearance.";
  return {
    engine: first.bestEngine,
    reason: `${title(first)}, engine ${first.bestEngine}: ${why}. ${proof}`,
  };
}

function title({ compiler, precision }: Pick<Row, "compiler" | "precision">): string {
  return precision === "fp32" ? compiler : `${compiler} ${precision}`;
}

/** X5: does the order of compilers by p99 hold from build to build? Mean tau over all pairs of builds. */
function rankStability(groups: readonly (readonly ReportEngine[])[]): number | null {
  const tails = groups.map((engines) => engines.flatMap(({ latency }) => latency.p99Seconds ?? []));
  const builds = Math.min(...tails.map(({ length }) => length));
  if (groups.length < 2 || builds < 2) return null;
  const taus: number[] = [];
  for (let i = 0; i < builds; i += 1)
    for (let j = i + 1; j < builds; j += 1)
      taus.push(
        kendallTau(
          tails.map((group) => group[i] as number),
          tails.map((group) => group[j] as number),
        ),
      );
  return finite(sum(taus) / taus.length);
}

function sumFlips(pairs: readonly ReportPair[]): number {
  return sum(pairs.map(({ flips }) => flips));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function ratio(part: number, whole: number): number | null {
  return whole === 0 ? null : part / whole;
}
