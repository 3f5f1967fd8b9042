import type { DifferenceSummary } from "../compare/difference.ts";
import { createNoiseFloor, type NoiseFloor } from "../compare/noise-floor.ts";
import type { CompareOptions } from "../compare/options.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Slices } from "../core/slices.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createDivergenceWindow, type DivergenceWindow } from "./divergence-window.ts";
import type { DeviceState, Evidence } from "./evidence.ts";
import type { EvidenceKeeper } from "./evidence-keeper.ts";
import type { JudgeOptions, Verdict } from "./rules/rule.ts";
import { judge, judgements } from "./verdict.ts";

/** A run of one engine on a served input, beside the live traffic. */
export interface AuditedRun {
  readonly engine: Engine;
  /** control: the engine that was active when the runs began. */
  readonly role: "control" | "shadow";
  readonly engineSeconds: number;
  /** A live request was answered meanwhile. */
  readonly overlapped: boolean;
  readonly error: Error | undefined;
}

/** A request that an engine answered for a client. */
export interface AuditedAnswer {
  readonly model: Model;
  readonly engine: Engine;
  /** Receipt to answer; of a request that moved here from an engine that was lost, from then on. */
  readonly seconds: number;
}

/** How a candidate's outputs differ from the reference's; of one engine twice, its run's from its answer to the client. */
export interface AuditedComparison {
  readonly reference: Engine;
  readonly candidate: Engine;
  readonly difference: DifferenceSummary;
}

export interface Auditor {
  answered(answer: AuditedAnswer): void;
  failed(model: Model, engine: Engine): void;
  /** This engine gave a client's request no right answer in time: a miss where the model has a deadline, as a late answer is. */
  unanswered(model: Model, engine: Engine): void;
  /** How outputs of the model are to be compared now: what the base cannot keep to itself, nobody else is held to. */
  compareOptions(model: Model): CompareOptions;
  /** The runs on one served input, in the order they ran in. */
  ran(model: Model, runs: readonly AuditedRun[]): void;
  /** One of the comparisons that came of them. `id` of the request is for the log. */
  compared(model: Model, id: string, comparison: AuditedComparison): void;
  /** At once, which takes up to a millisecond. */
  verdicts(model: Model, engine: Engine): readonly Verdict[];
  /** The same in slices, for who does it again and again. The model may be gone when it ends. */
  judge(model: Model, engine: Engine, slices: Slices): Promise<readonly Verdict[]>;
  /** As last judged, a second ago or so: what takes milliseconds no switch may take from live requests. */
  lastVerdicts(model: Model, engine: Engine): readonly Verdict[];
  /** Everything about one engine against the reference, for reports. */
  evidence(model: Model, engine: Engine): Evidence;
  divergence(model: Model, reference: Engine, candidate: Engine): DivergenceWindow | undefined;
  noise(engine: Engine): NoiseFloor | undefined;
  /** Brings an engine's verdicts, as last judged, divergence and noise up to date in the metrics. */
  publish(model: Model, engine: Engine): void;
  /** Begins the evidence on an engine anew: a person has lifted its quarantine. */
  restart(model: Model, engine: Engine): void;
  forget(model: string): void;
  /** A model was reloaded: lets go of what belongs to engines that it no longer has. */
  retain(model: Model): void;
}

/** After a pause this long an engine's next run is no steady one: clocks, caches and pages have gone cold. */
const idleSeconds = 5;

/** Hosts are warm before they are ready, on made-up inputs: the first runs on real ones still tell little of the rest. */
const warmUpRuns = 10;

export function createAuditor(options: {
  /** Where the evidence lives. */
  readonly keeper: EvidenceKeeper;
  readonly metrics: Metrics;
  /** Whether times of this engine's device can be judged now. */
  readonly deviceState: (engine: Engine) => DeviceState;
  readonly roleOf: (model: Model, engine: Engine) => JudgeOptions["role"];
  readonly clock: Clock;
  readonly log: Log;
}): Auditor {
  const { keeper, metrics, deviceState, roleOf, clock, log } = options;
  /** By model and digest; the window of a candidate is against one reference at a time. */
  const windows = new Map<string, { readonly reference: string; readonly window: DivergenceWindow }>();
  const floors = new Map<string, NoiseFloor>();
  /** Models whose decisions cannot be read, told once. */
  const undecided = new Set<string>();
  const judged = new WeakMap<Evidence, readonly Verdict[]>();
  const pastRuns = new WeakMap<Engine, { live: PastRuns; shadow: PastRuns }>();

  function evidenceOf(model: Model, engine: Engine): Evidence {
    const evidence = keeper.of(model, engine);
    const state = deviceState(engine);
    if (evidence.device.state !== state) evidence.add({ type: "device", state });
    // Of the active engine the pairs from before are kept: it may be rolled back to where they go on.
    const control = model.active === engine ? undefined : model.active?.manifest.artifact.sha256;
    if (control !== undefined && control !== evidence.pairs.control)
      evidence.add({ type: "control", digest: control });
    return evidence;
  }

  const blockOf = (model: Model) => Math.floor((clock.seconds() * 1000) / model.config.policy.blockMs);

  /** One of the engine's first runs there, a run after a pause, or a steady one; remembers this run. */
  function phaseOf(engine: Engine, where: "live" | "shadow"): "warmUp" | "steady" | "afterIdle" {
    const now = clock.seconds();
    let runs = pastRuns.get(engine);
    if (!runs) pastRuns.set(engine, (runs = { live: noRuns(), shadow: noRuns() }));
    const past = runs[where];
    const idle = now - past.lastSeconds >= idleSeconds;
    past.lastSeconds = now;
    past.count += 1;
    if (past.count <= warmUpRuns) return "warmUp";
    return idle ? "afterIdle" : "steady";
  }

  function addPairs(model: Model, runs: readonly AuditedRun[]): void {
    const at = runs.findIndex(({ role }) => role === "control");
    // Another engine has become active meanwhile: pairs with the one before are no longer asked for.
    const control = runs[at]?.engine === model.active ? runs[at] : undefined;
    const phases = new Map(runs.map(({ engine }) => [engine, phaseOf(engine, "shadow")]));
    for (const [place, run] of runs.entries()) {
      const labels = { model: model.name, engine: run.engine.id, role: run.role };
      if (run.error === undefined) {
        metrics.inc("shadow_runs_total", labels);
        if (!run.overlapped) metrics.latency(labels).record(run.engineSeconds);
      }
      if (!control || run === control || run.error || control.error) continue;
      const evidence = evidenceOf(model, run.engine);
      evidence.add({
        type: "pair",
        blockId: blockOf(model),
        controlSeconds: control.engineSeconds,
        candidateSeconds: run.engineSeconds,
        order: at < place ? "controlFirst" : "candidateFirst",
        timeValid: !run.overlapped && !control.overlapped && evidence.device.state !== "throttled",
        phase: phaseOfPair(phases.get(run.engine), phases.get(control.engine)),
      });
    }
  }

  /** Each run counts once, well ended or not: the reference's too, and without a reference everyone's. */
  function addAttempts(model: Model, runs: readonly AuditedRun[]): void {
    // An input that every engine refuses, or the reference too, says nothing against the others.
    if (runs.every(({ error }) => error)) return;
    const reference = runs.find(({ engine }) => engine === model.reference);
    for (const { engine, error } of runs) {
      if (error && reference?.error && engine !== model.reference) continue;
      evidenceOf(model, engine).add({ type: error ? "error" : "ran", blockId: blockOf(model) });
      if (error && reference && engine !== model.reference) {
        const labels = { model: model.name, reference: reference.engine.id, candidate: engine.id };
        metrics.inc("comparisons_total", { ...labels, result: "invalid" });
      }
    }
  }

  function addDifference(
    model: Model,
    reference: Engine,
    candidate: Engine,
    difference: DifferenceSummary,
    id: string,
  ): void {
    const labels = { model: model.name, reference: reference.id, candidate: candidate.id };
    metrics.inc("comparisons_total", { ...labels, result: difference.result });
    metrics.inc("flips_total", labels, difference.flip ? 1 : 0);
    if (difference.flip || difference.result === "diverged")
      log.debug({ ...labels, id, result: difference.result, flip: difference.flip }, "engines disagree");
    if (difference.undecided !== undefined && !undecided.has(model.name)) {
      undecided.add(model.name);
      log.warn(
        { ...labels, id, reason: difference.undecided },
        "decisions cannot be read, so that flips are not counted",
      );
    }
    windowOf(model, reference, candidate).add(difference);
    // Without a reference a disagreement is shown, but speaks against neither.
    if (reference === model.reference)
      evidenceOf(model, candidate).add({ type: "comparison", blockId: blockOf(model), difference });
  }

  function windowOf(model: Model, reference: Engine, candidate: Engine): DivergenceWindow {
    const { sha256 } = reference.manifest.artifact;
    let entry = windows.get(keyOf(model.name, candidate));
    if (entry?.reference !== sha256) {
      entry = { reference: sha256, window: createDivergenceWindow({ clock }) };
      windows.set(keyOf(model.name, candidate), entry);
      metrics.remove("divergence", { model: model.name, candidate: candidate.id });
    }
    return entry.window;
  }

  function divergenceOf(model: Model, reference: Engine, candidate: Engine): DivergenceWindow | undefined {
    const entry = windows.get(keyOf(model.name, candidate));
    return entry?.reference === reference.manifest.artifact.sha256 ? entry.window : undefined;
  }

  function noiseOf(engine: Engine): NoiseFloor | undefined {
    return floors.get(keyOf(engine.manifest.model, engine));
  }

  function addNoise(engine: Engine, difference: DifferenceSummary): void {
    let floor = noiseOf(engine);
    if (!floor) floors.set(keyOf(engine.manifest.model, engine), (floor = createNoiseFloor()));
    floor.add(difference.outputs);
  }

  /** Who the others are compared with. */
  const baseOf = (model: Model) => model.reference ?? model.active;

  function judgeOptions(model: Model, engine: Engine): JudgeOptions {
    const { policy, deadlineMs } = model.config;
    return {
      role: roleOf(model, engine),
      isReference: engine === model.reference || model.reference === undefined,
      hasDeadline: deadlineMs !== undefined,
      alpha: policy.alpha,
      rules: policy.rules,
    };
  }

  function judgeAtOnce(model: Model, engine: Engine): readonly Verdict[] {
    const evidence = evidenceOf(model, engine);
    const verdicts = judge(evidence, judgeOptions(model, engine));
    judged.set(evidence, verdicts);
    return verdicts;
  }

  async function judgeInSlices(model: Model, engine: Engine, slices: Slices): Promise<readonly Verdict[]> {
    const evidence = evidenceOf(model, engine);
    const before = judged.get(evidence);
    const verdicts: Verdict[] = [];
    for (const verdict of judgements(evidence, judgeOptions(model, engine))) {
      verdicts.push(verdict);
      if (slices.due()) await slices.pause();
    }
    // Whoever judged it at once meanwhile may have known its role better.
    if (judged.get(evidence) === before) judged.set(evidence, verdicts);
    return verdicts;
  }

  function lastJudged(model: Model, engine: Engine): readonly Verdict[] {
    return judged.get(evidenceOf(model, engine)) ?? judgeAtOnce(model, engine);
  }

  function publishDivergence(model: Model, engine: Engine): void {
    const base = baseOf(model);
    const window = base && divergenceOf(model, base, engine);
    if (!window) {
      // It was against another engine, without a reference the one that was active before.
      if (windows.delete(keyOf(model.name, engine)))
        metrics.remove("divergence", { model: model.name, candidate: engine.id });
      return;
    }
    const labels = { model: model.name, reference: base.id, candidate: engine.id };
    window.eachGone((output, metric) => metrics.remove("divergence", { ...labels, output, metric }));
    window.each((output, metric, quantile) => {
      // Of a similarity the low values are the bad ones.
      for (const percentile of metric === "cosine" ? [50, 10, 1, 0] : [50, 90, 99, 100])
        metrics.set("divergence", { ...labels, output, metric, percentile }, quantile(percentile / 100));
    });
  }

  function publishEngine(model: Model, engine: Engine): void {
    for (const { rule, verdict, have, need } of lastJudged(model, engine)) {
      const labels = { model: model.name, candidate: engine.id, rule };
      metrics.set("verdict", labels, verdict === "pass" ? 1 : verdict === "fail" ? -1 : 0);
      metrics.set("evidence_samples", { ...labels, kind: "have" }, have);
      metrics.set("evidence_samples", { ...labels, kind: "need" }, need === null ? Infinity : have + need);
    }
    publishDivergence(model, engine);
    for (const { output, absMax, relMax } of noiseOf(engine)?.result() ?? []) {
      const labels = { model: model.name, engine: engine.id, output };
      metrics.set("noise_floor", { ...labels, metric: "max_abs" }, absMax);
      metrics.set("noise_floor", { ...labels, metric: "max_rel" }, relMax);
    }
  }

  return {
    answered({ model, engine, seconds }) {
      const evidence = evidenceOf(model, engine);
      const { deadlineMs } = model.config;
      evidence.add({
        type: "live",
        blockId: blockOf(model),
        seconds,
        missed: deadlineMs !== undefined && seconds * 1000 > deadlineMs,
        timeValid: evidence.device.state !== "throttled",
        phase: phaseOf(engine, "live"),
      });
    },
    failed(model, engine) {
      evidenceOf(model, engine).add({ type: "error", blockId: blockOf(model) });
    },
    unanswered(model, engine) {
      if (model.config.deadlineMs === undefined) return;
      const evidence = evidenceOf(model, engine);
      const timeValid = evidence.device.state !== "throttled";
      evidence.add({ type: "late", blockId: blockOf(model), timeValid });
    },
    compareOptions(model) {
      const { task, tolerance, detection } = model.config;
      const base = baseOf(model);
      const floor = base && noiseOf(base);
      return { task, tolerance: floor ? floor.calibrate(tolerance ?? {}) : tolerance, detection };
    },
    ran(model, runs) {
      addPairs(model, runs);
      addAttempts(model, runs);
    },
    compared(model, id, { reference, candidate, difference }) {
      if (reference === candidate) addNoise(candidate, difference);
      // Otherwise another engine has become active meanwhile: comparisons with the one before are no longer asked for.
      else if (reference === baseOf(model)) addDifference(model, reference, candidate, difference, id);
    },
    verdicts: judgeAtOnce,
    judge: judgeInSlices,
    lastVerdicts: lastJudged,
    evidence: evidenceOf,
    divergence: divergenceOf,
    noise: noiseOf,
    publish: publishEngine,
    restart: (model, engine) => keeper.restart(model, engine),
    forget(model) {
      keeper.forget(model);
      undecided.delete(model);
      prune(windows, model);
      prune(floors, model);
    },
    retain(model) {
      keeper.retain(model);
      const kept = new Set([...model.engines.values()].map((engine) => keyOf(model.name, engine)));
      prune(windows, model.name, kept);
      prune(floors, model.name, kept);
    },
  };
}

interface PastRuns {
  lastSeconds: number;
  count: number;
}

function noRuns(): PastRuns {
  return { lastSeconds: -Infinity, count: 0 };
}

type Phase = "warmUp" | "afterIdle" | "steady";

/** A pair is what its less steady run is. */
function phaseOfPair(one: Phase | undefined, other: Phase | undefined): Phase {
  for (const phase of ["warmUp", "afterIdle"] as const) if (one === phase || other === phase) return phase;
  return "steady";
}

const keys = new WeakMap<Engine, string>();

/** Asked for several times with every input that was compared. */
function keyOf(model: string, engine: Engine): string {
  let key = keys.get(engine);
  if (key === undefined)
    keys.set(engine, (key = `${model}\0${engine.id}\0${engine.manifest.artifact.sha256}`));
  return key;
}

function prune(entries: Map<string, unknown>, model: string, kept?: ReadonlySet<string>): void {
  for (const key of entries.keys()) if (key.startsWith(`${model}\0`) && !kept?.has(key)) entries.delete(key);
}
