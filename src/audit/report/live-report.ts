import { clopperPearsonUpper } from "../../compare/statistics/clopper-pearson.ts";
import type { Clock } from "../../core/clock.ts";
import { shareInTurns } from "../../core/engine.ts";
import type { TensorSpec } from "../../core/tensor.ts";
import type { TimedReading } from "../../devices/reading.ts";
import type { Engine } from "../../models/engine.ts";
import type { Model } from "../../models/model.ts";
import type { Models } from "../../models/models.ts";
import type { Auditor } from "../auditor.ts";
import type { DivergenceWindow } from "../divergence-window.ts";
import type { Evidence } from "../evidence.ts";
import type { Feedback } from "../feedback.ts";
import { noFlips } from "../offline/labelled.ts";
import { concludeReport, explainUndecided, worst } from "./conclude.ts";
import { engineFacts } from "./engine-facts.ts";
import { finite } from "./figures.ts";
import { noTiming, speedup, type Timing, timingOfHistogram } from "./latency.ts";
import { limits, notApplicable } from "./limits.ts";
import { createGpuTally, describePlatform } from "./platform.ts";
import { rankCompilers } from "./ranking.ts";
import { renderReport, type ReportFormat } from "./render.ts";
import type { Report, ReportEngine, ReportPair } from "./schema.ts";

export interface LiveReportOptions {
  readonly auditor: Pick<Auditor, "verdicts" | "evidence" | "divergence">;
  readonly models: Pick<Models, "get">;
  readonly feedback: Pick<Feedback, "accuracy">;
  /** The newest reading of each GPU. */
  readonly readings: () => readonly TimedReading[];
  readonly crosscheckVersion: string;
  readonly clock: Clock;
}

/**
 * The report of a running gateway, from the evidence its auditor holds: the offline report's schema, with null for what
 * live evidence does not keep (the order of samples, the inputs, other pairs than those with the reference).
 *
 * @throws GatewayError `notFound` for an unknown model.
 */
export function createLiveReport(
  options: LiveReportOptions,
): (model: string, format: ReportFormat) => Promise<string> {
  return async (name, format) => renderReport(await liveReport(options.models.get(name), options), format);
}

async function liveReport(model: Model, options: LiveReportOptions): Promise<Report> {
  const { crosscheckVersion, clock, readings } = options;
  const gpus = createGpuTally();
  gpus.add(readings());
  const platform = describePlatform(gpus.result());
  const shown = [model.active, ...model.candidates].filter((engine) => engine !== undefined);
  const base = model.reference ?? model.active;
  const timings = timingsOf(model, shown, options);
  const pairs = shown.flatMap((engine) =>
    base === undefined || engine === base ? [] : [livePair(model, base, engine, options)],
  );
  const engines: ReportEngine[] = [];
  for (const engine of shown) {
    const pair = pairs.find(({ candidate }) => candidate === engine.id);
    engines.push(await liveEngine(model, engine, pair, timings, options));
  }
  const spec = ({ name, datatype, shape }: TensorSpec) => `${name} ${datatype} [${shape.join(", ")}]`;
  const { deadlineMs } = model.config;
  const body = {
    engines,
    pairs,
    builds: [],
    rebuilds: [],
    model: {
      name: model.name,
      task: model.config.task,
      sourceSha256: [...new Set(shown.map(({ manifest }) => manifest.source.sha256))],
      inputs: model.info?.inputs.map(spec) ?? [],
      outputs: model.info?.outputs.map(spec) ?? [],
      reference: model.reference?.id ?? null,
      active: model.active?.id ?? null,
      deadlineSeconds: deadlineMs === undefined ? null : deadlineMs / 1000,
      work: null,
    },
  };
  return {
    schema: 1,
    kind: "live",
    generatedAt: clock.now().toISOString(),
    crosscheckVersion,
    ...concludeReport(engines),
    ...body,
    dataset: null,
    run: null,
    platform,
    worstInputs: [],
    ranking: rankCompilers(body),
    notApplicable: notApplicable({ ...body, kind: "live", platform }),
    limits: limits("live", { inTurns: shareInTurns(shown.flatMap(({ info }) => info ?? [])) }),
  };
}

/**
 * Shadow pairs time control and candidates alike, so where there are some they speak for the active engine too; what
 * clients waited for stands apart, in the deadline's figures.
 */
function timingsOf(
  model: Model,
  shown: readonly Engine[],
  { auditor }: LiveReportOptions,
): ReadonlyMap<Engine, Timing> {
  const timings = new Map<Engine, Timing>();
  let control: Timing | undefined;
  let most = 0;
  for (const engine of shown) {
    const { whole } = auditor.evidence(model, engine).pairs.steady;
    if (engine === model.active || whole.candidate.count === 0) continue;
    timings.set(engine, timingOfHistogram(whole.candidate, whole.candidateJitter, "shadowRuns"));
    if (whole.control.count <= most) continue;
    most = whole.control.count;
    control = timingOfHistogram(whole.control, whole.controlJitter, "shadowRuns");
  }
  if (model.active !== undefined)
    timings.set(
      model.active,
      control ??
        timingOfHistogram(auditor.evidence(model, model.active).live.steady, undefined, "liveRequests"),
    );
  return timings;
}

async function liveEngine(
  model: Model,
  engine: Engine,
  pair: ReportPair | undefined,
  timings: ReadonlyMap<Engine, Timing>,
  { auditor, feedback }: LiveReportOptions,
): Promise<ReportEngine> {
  const { folder, manifest, info } = engine;
  const evidence = auditor.evidence(model, engine);
  const verdicts = auditor.verdicts(model, engine);
  const base = model.reference;
  const timing = timings.get(engine) ?? noTiming;
  const reference = base && timings.get(base)?.latency;
  const comparable = engine !== base && reference?.source === timing.latency.source;
  const labelled = feedback.accuracy(model).find((one) => one.engine === engine.id);
  return {
    ...(await engineFacts(engine.id, folder.directory, manifest)),
    role: engine === model.active ? "active" : engine === base ? "reference" : "candidate",
    runtime: info === undefined ? null : `${info.runtime.name} ${info.runtime.version}`,
    verdict: worst(verdicts.map(({ verdict }) => verdict)),
    verdicts: verdicts.map((verdict) => explainUndecided(verdict, pair)),
    error: engine.state === "failed" || engine.state === "quarantined" ? engine.reason : null,
    failures: evidence.counts.errors,
    residentBytes: engine.residentBytes() || null,
    ...timing,
    latency: {
      ...timing.latency,
      speedupRatio: comparable ? speedup(reference.p50Seconds, timing.latency.p50Seconds) : null,
    },
    speedTest: null,
    accuracy: { clean: null, corrupted: null },
    labelled:
      labelled === undefined
        ? []
        : [
            {
              set: "feedback",
              samples: labelled.labelled,
              correct: labelled.correct,
              ...noFlips,
            },
          ],
    realTime: liveRealTime(evidence, model.config.deadlineMs),
    cpu: null,
    streams: null,
    selfChecks: [],
    replay: { command: null, note: "crosscheck audit and crosscheck lottery give the command" },
  };
}

/**
 * Of answers to clients, from receipt to reply, from the take-over on where another engine was lost; runs of misses are
 * not kept. Misses come in bursts, so the bound is taken from one request of every block, where they count as one.
 */
function liveRealTime(
  { counts, live, rates }: Evidence,
  deadlineMs: number | undefined,
): ReportEngine["realTime"] {
  const requests = live.steady.count + live.afterIdle.count + counts.unanswered;
  if (deadlineMs === undefined || requests === 0) return null;
  const { events, n } = rates.liveMiss.whole;
  return {
    deadlineSeconds: deadlineMs / 1000,
    requests,
    misses: counts.missed,
    missRatio: counts.missed / requests,
    missUpperBoundRatio: n === 0 ? null : clopperPearsonUpper(events, n, 0.95),
    boundRequests: n,
    longestMissRun: null,
    mostMissesInWindow: null,
    windowRequests: null,
    highWaterMarkSeconds: Math.max(live.steady.maximum, live.afterIdle.maximum),
    marginRatio: null,
    certifiedP99: null,
  };
}

function livePair(model: Model, base: Engine, engine: Engine, { auditor }: LiveReportOptions): ReportPair {
  const { counts, undecidedReason } = auditor.evidence(model, engine);
  const { maxAbs, ulp, cosine } = extremes(auditor.divergence(model, base, engine));
  return {
    reference: base.id,
    candidate: engine.id,
    samples: counts.comparisons,
    bitEqual: counts.bitEqual,
    within: counts.within,
    diverged: counts.diverged,
    invalid: counts.invalid,
    decided: counts.comparisons - counts.undecided,
    flips: counts.flips,
    flipUpperBoundRatio: null,
    maxAbs,
    ulpP99: ulp,
    minCosine: cosine,
    maxJsNats: null,
    flipExposed: null,
    detection: null,
    segmentation: null,
    reason: null,
    undecidedReason,
  };
}

/** Over all outputs, of the last five minutes. */
function extremes(window: DivergenceWindow | undefined): {
  maxAbs: number | null;
  ulp: number | null;
  cosine: number | null;
} {
  let maxAbs = Number.NaN;
  let ulp = Number.NaN;
  let cosine = Number.NaN;
  window?.each((_output, metric, quantile) => {
    if (metric === "max_abs") maxAbs = Math.max(Number.isNaN(maxAbs) ? 0 : maxAbs, quantile(1));
    if (metric === "ulp") ulp = Math.max(Number.isNaN(ulp) ? 0 : ulp, quantile(0.99));
    if (metric === "cosine") cosine = Math.min(Number.isNaN(cosine) ? 1 : cosine, quantile(0));
  });
  return { maxAbs: finite(maxAbs), ulp: finite(ulp), cosine: finite(cosine) };
}
