import type { Comparer } from "../compare/comparer.ts";
import type { Difference } from "../compare/difference.ts";
import { createNoiseFloor, type NoiseFloor } from "../compare/noise-floor.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createDivergenceWindow, type DivergenceWindow } from "./divergence-window.ts";
import type { DeviceState, Evidence } from "./evidence.ts";
import type { EvidenceKeeper } from "./evidence-keeper.ts";
import type { JudgeOptions, Verdict } from "./rules/rule.ts";
import { judge } from "./verdict.ts";

/** A run of one engine on a served input, beside the live traffic. */
export interface AuditedRun {
  readonly engine: Engine;
  readonly outputs: readonly Tensor[] | undefined;
  readonly engineSeconds: number;
  /** A live request was answered meanwhile. */
  readonly overlapped: boolean;
  readonly error: Error | undefined;
}

/** A request that an engine answered for a client. */
export interface AuditedAnswer {
  readonly model: Model;
  readonly engine: Engine;
  /** Receipt to answer. */
  readonly seconds: number;
}

interface AuditedReply {
  /** Of the request, for the log. */
  readonly id: string;
  readonly engine: Engine;
  readonly outputs: readonly Tensor[];
}

export interface Auditor {
  answered(answer: AuditedAnswer): void;
  failed(model: Model, engine: Engine): void;
  /** Runs in the order they ran in, and the reply that the client got for the same input. */
  shadowed(model: Model, runs: readonly AuditedRun[], reply: AuditedReply): Promise<void>;
  verdicts(model: Model, engine: Engine): readonly Verdict[];
  /** As last judged, a second ago or so: judging takes milliseconds, which no switch may take from live requests. */
  lastVerdicts(model: Model, engine: Engine): readonly Verdict[];
  /** Everything about one engine against the reference, for reports. */
  evidence(model: Model, engine: Engine): Evidence;
  divergence(model: Model, reference: Engine, candidate: Engine): DivergenceWindow | undefined;
  noise(engine: Engine): NoiseFloor | undefined;
  /** Brings an engine's verdicts, divergence and noise up to date in the metrics; a millisecond's work. Returns the verdicts. */
  publish(model: Model, engine: Engine): readonly Verdict[];
  /** Begins the evidence on an engine anew: a person has lifted its quarantine. */
  restart(model: Model, engine: Engine): void;
  forget(model: string): void;
}

/** After a pause this long an engine's next run is no steady one: clocks, caches and pages have gone cold. */
const idleSeconds = 5;

export function createAuditor(options: {
  readonly comparer: Comparer;
  /** Where the evidence lives. */
  readonly keeper: EvidenceKeeper;
  readonly metrics: Metrics;
  /** Whether times of this engine's device can be judged now. */
  readonly deviceState: (engine: Engine) => DeviceState;
  readonly roleOf: (model: Model, engine: Engine) => JudgeOptions["role"];
  readonly clock: Clock;
  readonly log: Log;
}): Auditor {
  const { comparer, keeper, metrics, deviceState, roleOf, clock, log } = options;
  const windows = new Map<string, DivergenceWindow>();
  const floors = new Map<string, NoiseFloor>();
  const judged = new WeakMap<Engine, readonly Verdict[]>();
  const lastRunSeconds = new WeakMap<Engine, { live: number; shadow: number }>();

  function evidenceOf(model: Model, engine: Engine): Evidence {
    const evidence = keeper.of(model, engine);
    const state = deviceState(engine);
    if (evidence.device.state !== state) evidence.add({ type: "device", state });
    return evidence;
  }

  const blockOf = (model: Model) => Math.floor((clock.seconds() * 1000) / model.config.policy.blockMs);

  /** Steady, or the first run after a pause; remembers this run. */
  function phaseOf(engine: Engine, where: "live" | "shadow"): "steady" | "afterIdle" {
    const now = clock.seconds();
    let last = lastRunSeconds.get(engine);
    if (!last) lastRunSeconds.set(engine, (last = { live: -Infinity, shadow: -Infinity }));
    const phase = now - last[where] < idleSeconds ? "steady" : "afterIdle";
    last[where] = now;
    return phase;
  }

  function addPairs(model: Model, runs: readonly AuditedRun[]): void {
    const at = runs.findIndex(({ engine }) => engine === model.active);
    const control = runs[at];
    const phases = new Map(runs.map(({ engine }) => [engine, phaseOf(engine, "shadow")]));
    for (const [place, run] of runs.entries()) {
      const role = run.engine === model.active ? "control" : "shadow";
      const labels = { model: model.name, engine: run.engine.id, role } as const;
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
        phase:
          phases.get(run.engine) === "steady" && phases.get(control.engine) === "steady"
            ? "steady"
            : "afterIdle",
      });
    }
  }

  /** Each run counts once, well ended or not: the reference's too, and without a reference everyone's. */
  function addAttempts(model: Model, runs: readonly AuditedRun[]): void {
    // An input that every engine refuses, or the reference too, says nothing against the others.
    if (runs.every(({ error }) => error)) return;
    const refused = runs.some(({ engine, error }) => error && engine === model.reference);
    for (const { engine, error } of runs)
      if (!error || !refused || engine === model.reference)
        evidenceOf(model, engine).add({ type: error ? "error" : "ran", blockId: blockOf(model) });
  }

  function addDifference(
    model: Model,
    reference: Engine,
    candidate: Engine,
    difference: Difference,
    id: string,
  ): void {
    const labels = { model: model.name, reference: reference.id, candidate: candidate.id };
    metrics.inc("comparisons_total", { ...labels, result: difference.result });
    metrics.inc("flips_total", labels, difference.flip ? 1 : 0);
    if (difference.flip || difference.result === "diverged")
      log.debug({ ...labels, id, result: difference.result, flip: difference.flip }, "engines disagree");
    const key = windowKey(model, reference, candidate);
    let window = windows.get(key);
    if (!window) windows.set(key, (window = createDivergenceWindow({ clock })));
    window.add(difference);
    // Without a reference a disagreement is shown, but speaks against neither.
    if (reference === model.reference)
      evidenceOf(model, candidate).add({ type: "comparison", blockId: blockOf(model), difference });
  }

  function addNoise(engine: Engine, difference: Difference): void {
    const digest = engine.manifest.artifact.sha256;
    let floor = floors.get(digest);
    if (!floor) floors.set(digest, (floor = createNoiseFloor()));
    floor.add(difference.outputs);
  }

  /** Compares every engine's outputs with the reference's (the active one's without it), and the active one with itself. */
  async function compareRuns(model: Model, runs: readonly AuditedRun[], reply: AuditedReply): Promise<void> {
    const good = runs.filter((run) => run.outputs !== undefined);
    const base = good.findIndex(({ engine }) => engine === (model.reference ?? model.active));
    const baseRun = good[base];
    const pairs: (readonly [number, number])[] = [];
    const takers: ((difference: Difference) => void)[] = [];
    for (const [place, run] of good.entries()) {
      if (!baseRun || place === base) continue;
      pairs.push([base, place]);
      takers.push((difference) => addDifference(model, baseRun.engine, run.engine, difference, reply.id));
    }
    const again = good.findIndex(({ engine }) => engine === reply.engine);
    const outputs = good.map((run) => run.outputs ?? []);
    if (again >= 0) {
      // The client may have asked for some of the outputs only.
      const names = new Set(reply.outputs.map(({ name }) => name));
      outputs.push(
        reply.outputs,
        (outputs[again] ?? []).filter(({ name }) => names.has(name)),
      );
      pairs.push([good.length, good.length + 1]);
      takers.push((difference) => addNoise(reply.engine, difference));
    }
    if (pairs.length === 0) return;
    const { task, tolerance, detection } = model.config;
    // What the base cannot keep to itself, nobody else is held to.
    const floor = baseRun && floors.get(baseRun.engine.manifest.artifact.sha256);
    const limits = floor ? floor.calibrate(tolerance ?? {}) : tolerance;
    const differences = await comparer.compare(outputs, pairs, { task, tolerance: limits, detection });
    for (const [place, difference] of differences.entries()) takers[place]?.(difference);
  }

  function judgeEngine(model: Model, engine: Engine): Verdict[] {
    const { policy, deadlineMs } = model.config;
    const verdicts = judge(evidenceOf(model, engine), {
      role: roleOf(model, engine),
      isReference: engine === model.reference || model.reference === undefined,
      hasDeadline: deadlineMs !== undefined,
      alpha: policy.alpha,
      rules: policy.rules,
    });
    judged.set(engine, verdicts);
    return verdicts;
  }

  function publishEngine(model: Model, engine: Engine): readonly Verdict[] {
    const verdicts = judgeEngine(model, engine);
    for (const { rule, verdict, have, need } of verdicts) {
      const labels = { model: model.name, candidate: engine.id, rule };
      metrics.set("verdict", labels, verdict === "pass" ? 1 : verdict === "fail" ? -1 : 0);
      metrics.set("evidence_samples", { ...labels, kind: "have" }, have);
      metrics.set("evidence_samples", { ...labels, kind: "need" }, need === null ? Infinity : have + need);
    }
    const base = model.reference ?? model.active;
    if (base)
      windows.get(windowKey(model, base, engine))?.each((output, metric, quantile) => {
        const labels = { model: model.name, reference: base.id, candidate: engine.id, output, metric };
        // Of a similarity the low values are the bad ones.
        for (const percentile of metric === "cosine" ? [50, 10, 1, 0] : [50, 90, 99, 100])
          metrics.set("divergence", { ...labels, percentile }, quantile(percentile / 100));
      });
    for (const { output, absMax, relMax } of floors.get(engine.manifest.artifact.sha256)?.result() ?? []) {
      const labels = { model: model.name, engine: engine.id, output };
      metrics.set("noise_floor", { ...labels, metric: "max_abs" }, absMax);
      metrics.set("noise_floor", { ...labels, metric: "max_rel" }, relMax);
    }
    return verdicts;
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
    async shadowed(model, runs, reply) {
      addPairs(model, runs);
      addAttempts(model, runs);
      await compareRuns(model, runs, reply).catch((error: unknown) => {
        log.error({ model: model.name, id: reply.id, err: error }, "outputs could not be compared");
      });
    },
    verdicts: judgeEngine,
    lastVerdicts: (model, engine) => judged.get(engine) ?? judgeEngine(model, engine),
    evidence: evidenceOf,
    divergence: (model, reference, candidate) => windows.get(windowKey(model, reference, candidate)),
    noise: (engine) => floors.get(engine.manifest.artifact.sha256),
    publish: publishEngine,
    restart(model, engine) {
      keeper.restart(model, engine);
      judged.delete(engine);
    },
    forget(model) {
      keeper.forget(model);
      for (const name of windows.keys()) if (name.startsWith(`${model}\0`)) windows.delete(name);
    },
  };
}

function windowKey(model: Model, reference: Engine, candidate: Engine): string {
  return `${model.name}\0${reference.manifest.artifact.sha256}\0${candidate.manifest.artifact.sha256}`;
}
