import type { DecisionLog } from "./audit/log/decision-log.ts";
import type { Auditor } from "./audit/auditor.ts";
import type { Verdict } from "./audit/rules/rule.ts";
import { limitsOf } from "./compare/options.ts";
import type { Clock } from "./core/clock.ts";
import type { EventFeed } from "./core/event-feed.ts";
import { createSlices, type Slices } from "./core/slices.ts";
import type { SpareTime } from "./core/spare-time.ts";
import type { Devices } from "./devices/devices.ts";
import type { Inference } from "./inference/inference.ts";
import type { Statistics } from "./inference/statistics.ts";
import type { Metrics } from "./metrics/metrics.ts";
import type { Engine } from "./models/engine.ts";
import type { Model } from "./models/model.ts";
import type { Models } from "./models/models.ts";
import { auditView, engineList } from "./services.ts";
import type { Store } from "./store/store.ts";
import type { Controller } from "./switching/controller.ts";

interface LiveEvents {
  /** Out of turn, for one who has just begun to watch. */
  publish(): void;
  close(): void;
}

interface Parts {
  readonly models: Models;
  readonly inference: Inference;
  readonly auditor: Auditor;
  readonly controller: Controller;
  readonly devices: Devices;
  readonly decisions: Pick<DecisionLog, "lastSeq" | "trouble">;
  readonly statistics: Statistics;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly store: Pick<Store, "trouble">;
  readonly spareTime: SpareTime;
  readonly clock: Clock;
}

const periodMs = 1000;

/**
 * Once a second, while someone watches: an event `verdict` for each model, then an event `metrics` with everything
 * else that the page draws. The verdicts' metrics are brought up to date in the same turn, watched or not.
 */
export function publishLive(parts: Parts): LiveEvents {
  const {
    models,
    inference,
    auditor,
    controller,
    devices,
    decisions,
    metrics,
    feed,
    store,
    spareTime,
    clock,
  } = parts;
  let busy = false;

  async function publish(): Promise<void> {
    const slices = createSlices(spareTime);
    const figures: object[] = [];
    // Whoever comes in the middle gets the next ones, whole.
    const watched = !feed.quiet;
    for (const model of models.list()) {
      if (model.state === "ready") await publishModel(model, slices);
      if (watched) figures.push(modelFigures(model, parts));
      if (slices.due()) await slices.pause();
    }
    if (!watched) return;
    feed.emit("metrics", {
      time: clock.now().toISOString(),
      models: figures,
      devices: devices.latest(),
      board: devices.board(),
      lastDecision: decisions.lastSeq,
      storeTrouble: troubleOf(store.trouble, decisions.trouble),
    });
  }

  /** Many engines are many verdicts and percentiles: live requests come in between. */
  async function publishModel(model: Model, slices: Slices): Promise<void> {
    const verdicts = new Map<Engine, readonly Verdict[]>();
    // A model that is removed or replaced meanwhile must not leave series behind.
    const replaced = () => !models.list().includes(model);
    for (const engine of [model.active, ...model.candidates]) {
      if (!engine) continue;
      verdicts.set(engine, await auditor.judge(model, engine, slices));
      if (slices.due()) await slices.pause();
      if (replaced()) return;
      auditor.publish(model, engine);
      if (slices.due()) await slices.pause();
      if (replaced()) return;
    }
    metrics.set("queue_length", { model: model.name }, inference.waiting(model.name));
    const shares = controller.shares(model);
    for (const engine of model.engines.values()) {
      const labels = { model: model.name, engine: engine.id };
      metrics.set("traffic_share_ratio", labels, shares.get(engine.id) ?? 0);
      showMemory(metrics, labels, engine);
      if (slices.due()) await slices.pause();
      if (replaced()) return;
    }
    const verdictsOn = (engine: Engine) => verdicts.get(engine) ?? auditor.verdicts(model, engine);
    if (!feed.quiet) feed.emit("verdict", auditView(model, controller, verdictsOn));
  }

  function publishUnlessBusy(): void {
    if (busy) return;
    busy = true;
    void publish().finally(() => (busy = false));
  }

  const timer = setInterval(publishUnlessBusy, periodMs);
  timer.unref();
  return { publish: publishUnlessBusy, close: () => clearInterval(timer) };
}

/** In one line; null when all is well. */
function troubleOf(...parts: readonly (string | undefined)[]): string | null {
  return parts.filter((part) => part !== undefined).join("; ") || null;
}

/** Each process by its number in the pool, shadow instances apart; those that have gone leave no value behind. */
function showMemory(metrics: Metrics, labels: { model: string; engine: string }, engine: Engine): void {
  metrics.remove("host_resident_bytes", labels);
  for (const { role, instance, residentBytes } of engine.processes) {
    const name = role === "serving" ? String(instance) : `shadow-${instance}`;
    metrics.set("host_resident_bytes", { ...labels, instance: name }, residentBytes);
  }
}

function modelFigures(model: Model, { inference, metrics, auditor, controller, statistics }: Parts): object {
  const { deadlineMs, tolerance, policy } = model.config;
  const shares = controller.shares(model);
  const { success, fail } = statistics.of(model.name);
  const { engines, ...names } = engineList(model);
  const base = model.reference ?? model.active;

  function figuresOf(engine: Engine): object {
    const compared = engine === model.active || model.candidates.includes(engine);
    const evidence = compared ? auditor.evidence(model, engine) : undefined;
    return {
      share: shares.get(engine.id) ?? 0,
      residentBytes: engine.residentBytes(),
      latency: Object.fromEntries(
        (["active", "control", "shadow"] as const).flatMap((role) => {
          const summary = metrics.latency({ model: model.name, engine: engine.id, role }).summary();
          return summary ? [[role, summary]] : [];
        }),
      ),
      counts: evidence?.counts ?? null,
      undecidedReason: evidence?.undecidedReason ?? null,
      divergence: base && base !== engine ? divergenceOf(auditor, model, base, engine) : [],
    };
  }

  return {
    ...names,
    state: model.state,
    reason: model.reason,
    deadlineMs: deadlineMs ?? null,
    limits: (model.info?.outputs ?? []).map(({ name, datatype }) => ({
      output: name,
      ...limitsOf(name, datatype, tolerance),
    })),
    policy: policy.mode,
    queueLength: inference.waiting(model.name),
    requests: { succeeded: success.count, failed: fail.count },
    engines: engines.map((listed) => {
      const engine = model.engines.get(listed.id);
      return engine ? { ...listed, ...figuresOf(engine) } : listed;
    }),
  };
}

/** Of a similarity the low values are the bad ones: there p99 and worst come from the other end. */
function divergenceOf(auditor: Auditor, model: Model, reference: Engine, candidate: Engine): object[] {
  const figures: object[] = [];
  auditor.divergence(model, reference, candidate)?.each((output, metric, quantile) => {
    const [p99, worst] = metric === "cosine" ? [0.01, 0] : [0.99, 1];
    figures.push({ output, metric, p50: quantile(0.5), p99: quantile(p99), worst: quantile(worst) });
  });
  return figures;
}
