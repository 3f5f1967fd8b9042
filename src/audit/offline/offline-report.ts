import { blockMedians, type LotteryEngine } from "../../building/lottery.ts";
import { lotteryGroups } from "../../building/lottery-groups.ts";
import { quantileRatioBootstrap } from "../../compare/statistics/block-bootstrap.ts";
import { buildShare } from "../../compare/statistics/build-share.ts";
import { createRandom } from "../../compare/statistics/random.ts";
import { shareInTurns } from "../../core/engine.ts";
import type { TensorSpec } from "../../core/tensor.ts";
import { isStatic } from "../../hosting/fit.ts";
import type { ModelConfig } from "../../models/manifest.ts";
import { concludeReport, explainUndecided, toOfflineVerdict, worst } from "../report/conclude.ts";
import { type EngineFacts, engineFacts } from "../report/engine-facts.ts";
import { finite } from "../report/figures.ts";
import { noTiming, seriesSha256, timingOfSeries } from "../report/latency.ts";
import { limits, notApplicable } from "../report/limits.ts";
import type { Platform } from "../report/platform.ts";
import { rankCompilers } from "../report/ranking.ts";
import type { Report, ReportEngine, ReportPair, ReportVerdict } from "../report/schema.ts";
import { judge } from "../verdict.ts";
import { answeredSeconds, type EngineRecord } from "./engine-record.ts";
import { accuracyOn, labelledFigures } from "./labelled.ts";
import type { Measurement } from "./measure.ts";
import { rebuilds } from "./rebuilds.ts";
import { realTimeFigures } from "./real-time.ts";
import { slowTogether } from "./slow-together.ts";
import { speedTest } from "./speed-test.ts";

export interface OfflineReportOptions {
  readonly model: ModelConfig;
  readonly measurement: Measurement;
  /** Engines that were asked for; a reference that was not is shown and not judged. */
  readonly judged: ReadonlySet<string>;
  readonly runs: number;
  readonly seed: number;
  readonly platform: Platform;
  readonly crosscheckVersion: string;
  readonly generatedAt: Date;
  readonly work: Report["model"]["work"];
  readonly replay: (engine: LotteryEngine) => ReportEngine["replay"];
}

/** What was measured as a report: the verdicts are those of the live audit, over the same kind of evidence. */
export async function offlineReport(options: OfflineReportOptions): Promise<Report> {
  const { model, measurement, runs, seed, platform, crosscheckVersion, generatedAt, work } = options;
  const { records, notLoaded, inputs } = measurement;
  const reference = records[0] as EngineRecord;
  const pairs = measurement.pairs.map((pair) => pair.result());
  const engines: ReportEngine[] = [];
  for (const record of records) engines.push(await loadedEngine(record, reference, pairs, options));
  for (const { engine, error } of notLoaded) engines.push(await missingEngine(engine, error, options));
  const builds = buildGroups(records, engines, pairs);
  const spec = ({ name, datatype, shape }: TensorSpec) => `${name} ${datatype} [${shape.join(", ")}]`;
  const body = {
    engines,
    pairs,
    builds,
    rebuilds: rebuilds(
      records.map(({ engine }) => engine),
      pairs,
    ),
    model: {
      name: model.name,
      task: model.task,
      sourceSha256: [...new Set(records.map(({ engine }) => engine.manifest.source.sha256))],
      inputs: reference.info.inputs.map(spec),
      outputs: reference.info.outputs.map(spec),
      reference: reference.engine.id,
      active: model.active ?? null,
      deadlineSeconds: model.deadlineMs === undefined ? null : model.deadlineMs / 1000,
      work,
    },
  };
  return {
    schema: 1,
    kind: "offline",
    generatedAt: generatedAt.toISOString(),
    crosscheckVersion,
    ...concludeReport(engines),
    ...body,
    dataset: {
      source: inputs.source,
      sha256: inputs.sha256,
      inputs: inputs.inputs.length,
      labelledInputs: inputs.inputs.filter(({ label }) => label !== null).length,
    },
    run: {
      requestsPerEngine: runs,
      seconds: measurement.seconds,
      seed,
      samplesSha256: seriesSha256(records.map(answeredSeconds)),
      slowTogether: slowTogether(
        // Inputs of many shapes are slow by themselves.
        reference.info.inputs.every(isStatic)
          ? records.map(({ engine: { id, manifest }, outcomes }) => ({
              id,
              device: manifest.device.name,
              seconds: outcomes,
            }))
          : [],
      ),
    },
    platform,
    worstInputs: measurement.worst.list(),
    ranking: rankCompilers(body),
    notApplicable: notApplicable({ ...body, kind: "offline", platform }),
    limits: limits("offline", { inTurns: shareInTurns(records.map(({ info }) => info)) }),
  };
}

async function loadedEngine(
  record: EngineRecord,
  reference: EngineRecord,
  pairs: readonly ReportPair[],
  { model, judged, measurement, seed, replay }: OfflineReportOptions,
): Promise<ReportEngine> {
  const { engine, info, evidence, outcomes, failures, residentBytes, selfChecks, pool } = record;
  const isReference = record === reference;
  const { policy, deadlineMs } = model;
  const gaveUp = pool.failure ?? null;
  const against = pairs.find(
    (pair) => pair.reference === reference.engine.id && pair.candidate === engine.id,
  );
  const verdicts: ReportVerdict[] = judge(evidence, {
    // The audit's requests are what a canary's live ones are: absolute claims from them, comparisons against the control.
    role: isReference ? "active" : "canary",
    isReference,
    hasDeadline: deadlineMs !== undefined,
    alpha: policy.alpha,
    rules: policy.rules,
  }).map((verdict) => explainUndecided(toOfflineVerdict(verdict), against));
  verdicts.push(selfIdentity(selfChecks));
  if (gaveUp !== null) verdicts.push(loads(gaveUp));
  const [own, base] = [answeredSeconds(record), answeredSeconds(reference)];
  const deadlineSeconds = deadlineMs === undefined ? undefined : deadlineMs / 1000;
  const timing = timingOfSeries(own, isReference ? null : median(base), deadlineSeconds);
  const labelled = labelledFigures(
    measurement.inputs.inputs,
    record.classes,
    isReference ? undefined : reference.classes,
  );
  return {
    ...(await engineFacts(engine.id, engine.directory, engine.manifest)),
    role: isReference ? "reference" : model.active === engine.id ? "active" : "candidate",
    runtime: `${info.runtime.name} ${info.runtime.version}`,
    verdict: judged.has(engine.id) ? worst(verdicts.map(({ verdict }) => verdict)) : null,
    verdicts,
    error: gaveUp,
    failures,
    residentBytes: residentBytes === 0 ? null : residentBytes,
    ...timing,
    latency: { ...timing.latency, ...(isReference ? {} : speedupInterval(own, base, seed)) },
    speedTest: isReference ? null : speedTest(own, base),
    accuracy: { clean: accuracyOn(labelled, "clean"), corrupted: accuracyOn(labelled, "corrupted") },
    labelled,
    realTime: realTimeFigures(outcomes, deadlineSeconds),
    cpu: cpuFigures(record, own),
    streams: record.streams,
    selfChecks,
    replay: replay(engine),
  };
}

async function missingEngine(
  engine: LotteryEngine,
  error: string,
  { replay }: OfflineReportOptions,
): Promise<ReportEngine> {
  const facts: EngineFacts = await engineFacts(engine.id, engine.directory, engine.manifest);
  return {
    ...facts,
    ...noTiming,
    role: "candidate",
    runtime: null,
    verdict: "fail",
    verdicts: [loads(error)],
    error,
    failures: 0,
    residentBytes: null,
    speedTest: null,
    accuracy: { clean: null, corrupted: null },
    labelled: [],
    realTime: null,
    cpu: null,
    streams: null,
    selfChecks: [],
    replay: replay(engine),
  };
}

/** Linux counts processor time in hundredths of a second: less says too little of one request. */
const fewestCpuSeconds = 0.1;

function cpuFigures({ cpuSeconds, outcomes }: EngineRecord, own: readonly number[]): ReportEngine["cpu"] {
  if (cpuSeconds === null || cpuSeconds < fewestCpuSeconds) return null;
  const engineSeconds = own.reduce((sum, seconds) => sum + seconds, 0);
  return {
    requests: outcomes.length,
    secondsPerRequest: cpuSeconds / outcomes.length,
    coresBusy: finite(cpuSeconds / engineSeconds),
  };
}

const certain = { threshold: 0, lower: null, upper: null, need: 0, alpha: 0, scope: "whole" } as const;

function loads(error: string): ReportVerdict {
  const found = { verdict: "fail", value: null, have: 1, unit: "engines", reason: error } as const;
  return { ...certain, ...found, rule: "loads", source: "load" };
}

/** An engine that disagrees with itself cannot be compared with anything; the live audit quarantines it. */
function selfIdentity(checks: ReportEngine["selfChecks"]): ReportVerdict {
  const samples = checks.reduce((sum, check) => sum + check.samples, 0);
  const disagreements = checks.reduce((sum, check) => sum + check.disagreements, 0);
  const where = checks.some(({ check }) => check === "rows")
    ? "here, in another process and as equal rows of a batch"
    : "here and in another process";
  return {
    ...certain,
    rule: "selfIdentity",
    source: "selfChecks",
    verdict: disagreements > 0 ? "fail" : samples === 0 ? "inconclusive" : "pass",
    value: samples === 0 ? null : disagreements / samples,
    have: samples,
    need: samples === 0 ? 1 : 0,
    unit: "inputs",
    reason:
      disagreements > 0
        ? `${disagreements} of ${samples} inputs, asked again, gave another answer`
        : `${samples} inputs, asked again ${where}, gave the same answer`,
  };
}

/** Builds made alike, and how much they differ: the lottery's figures from the audit's own measurements. */
function buildGroups(
  records: readonly EngineRecord[],
  engines: readonly ReportEngine[],
  pairs: readonly ReportPair[],
): Report["builds"] {
  return lotteryGroups(records.map(({ engine }) => engine))
    .filter((group) => group.length > 1)
    .map((group) => {
      const ids = group.map(({ id }) => id);
      const rows = engines.filter(({ id }) => ids.includes(id));
      const series = records.filter(({ engine }) => ids.includes(engine.id)).map(answeredSeconds);
      const [first] = group as readonly [LotteryEngine];
      return {
        compiler: first.manifest.compiler.name,
        precision: first.manifest.precision,
        engines: ids,
        p50SpreadRatio: spread(rows.map(({ latency }) => latency.p50Seconds)),
        p99SpreadRatio: spread(rows.map(({ latency }) => latency.p99Seconds)),
        betweenBuildShareRatio: finite(buildShare(series.map(blockMedians)).icc),
        distinctFingerprints: new Set(rows.map(({ fingerprint }) => fingerprint)).size,
        distinctArtifacts: new Set(rows.map(({ artifactSha256 }) => artifactSha256)).size,
        distinctFunctions: functionsAmong(ids, pairs),
        verdictsChangedByBuild: changedVerdicts(rows),
      };
    });
}

function spread(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length < values.length ? null : finite(Math.max(...known) / Math.min(...known));
}

function functionsAmong(ids: readonly string[], pairs: readonly ReportPair[]): number {
  const firsts: string[] = [];
  for (const id of ids) {
    const same = firsts.some((other) =>
      pairs.some(
        ({ reference, candidate, samples, bitEqual }) =>
          [reference, candidate].includes(id) &&
          [reference, candidate].includes(other) &&
          samples > 0 &&
          bitEqual === samples,
      ),
    );
    if (!same) firsts.push(id);
  }
  return firsts.length;
}

function changedVerdicts(rows: readonly ReportEngine[]): string[] {
  const rules = [...new Set(rows.flatMap(({ verdicts }) => verdicts.map(({ rule }) => rule)))];
  return rules.filter((rule) => {
    const found = new Set(
      rows.flatMap(({ verdicts }) =>
        verdicts.filter((one) => one.rule === rule).map(({ verdict }) => verdict),
      ),
    );
    return found.has("pass") && found.has("fail");
  });
}

/** Fewer blocks than some tens of times tell too little; more resamples than this move the third digit. */
const leastForInterval = 100;
const resamples = 400;

function speedupInterval(
  seconds: readonly number[],
  reference: readonly number[],
  seed: number,
): Pick<ReportEngine["latency"], "speedupLowerRatio" | "speedupUpperRatio"> {
  if (Math.min(seconds.length, reference.length) < leastForInterval)
    return { speedupLowerRatio: null, speedupUpperRatio: null };
  const random = createRandom(seed);
  const series = { candidate: reference, control: seconds };
  const { lower, upper } = quantileRatioBootstrap({ ...series, p: 0.5, random, resamples });
  return { speedupLowerRatio: finite(lower), speedupUpperRatio: finite(upper) };
}

function median(series: readonly number[]): number | null {
  return timingOfSeries(series, null).latency.p50Seconds;
}
