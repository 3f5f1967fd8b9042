import type { Log } from "../core/log.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { SelfCheck } from "./self-check.ts";

/**
 * Checks engines against themselves: when their shadow instance comes up, and again every `periodSeconds`. A model that
 * is not shadowed has its active engine checked all the same, on an instance that is started for it and goes again, unless
 * memory is scarce.
 */
export interface SelfCheckSchedule {
  /** Checks the engine now; an engine that disagrees with itself is handed to `onDisagreement`. */
  check(model: Model, engine: Engine): Promise<void>;
  /** A model is ready: where no shadow will come up, its active engine is checked once. Does not wait for it. */
  loaded(model: Model): void;
  close(): Promise<void>;
}

export function createSelfCheckSchedule(options: {
  readonly models: () => Iterable<Model>;
  readonly run: (model: Model, engine: Engine) => Promise<SelfCheck[]>;
  readonly onDisagreement: (model: Model, engine: Engine, failed: readonly SelfCheck[]) => Promise<void>;
  /** Whether an instance may be started for a check alone; under a memory budget it would take a client's room. */
  readonly mayBorrow: boolean;
  readonly periodSeconds?: number;
  readonly log: Log;
}): SelfCheckSchedule {
  const { models, run, onDisagreement, mayBorrow, periodSeconds = 600, log } = options;
  const state = { closed: false };
  /** When each model was last used, as of its last round. */
  const checkedAt = new WeakMap<Model, number>();
  const checkedOnce = new WeakSet<Engine>();
  let round: Promise<void> = Promise.resolve();

  async function check(model: Model, engine: Engine): Promise<void> {
    // In the same turn as the start of a shadow instance: nobody would end one that is started later.
    if (state.closed || engine.quarantined || model.state !== "ready") return;
    const borrowed = !engine.shadowLoaded;
    if (borrowed && !mayBorrow) return;
    const labels = { model: model.name, engine: engine.id };
    try {
      const checks = await run(model, engine);
      if (state.closed) return;
      const failed = checks.filter(({ passed }) => !passed);
      log.debug({ ...labels, checks }, "self-check");
      if (failed.length > 0) await onDisagreement(model, engine, failed);
    } catch (error) {
      if (!state.closed) log.warn({ ...labels, err: error }, "self-check could not run");
    }
    // Asked of the models there are now: a reload may have kept the engine meanwhile, for a model that shadows it.
    if (!borrowed || [...models()].some(({ shadowed }) => shadowed.includes(engine))) return;
    await engine.unload("shadow").catch((error: unknown) => {
      log.warn({ ...labels, err: error }, "the instance of a self-check could not be unloaded");
    });
  }

  async function checkAll(): Promise<void> {
    for (const model of models()) {
      // The check itself uses the engines; a model that nobody else used since the last one is left to fall idle.
      const rests = model.config.idleUnloadSeconds > 0 && lastUsed(model) === checkedAt.get(model);
      if (model.state !== "ready" || rests) continue;
      for (const engine of model.engines.values())
        if (engine.shadowLoaded || engine === model.active) await check(model, engine);
      checkedAt.set(model, lastUsed(model));
    }
  }

  const timer = setInterval(() => (round = round.then(checkAll)), periodSeconds * 1000);
  timer.unref();
  return {
    check,
    loaded(model) {
      const { active } = model;
      if (!active || model.isShadowed || checkedOnce.has(active)) return;
      checkedOnce.add(active);
      // Not waited for at the end either: it fails quietly when its instance is closed under it.
      void check(model, active);
    },
    async close() {
      state.closed = true;
      clearInterval(timer);
      await round;
    },
  };
}

function lastUsed(model: Model): number {
  return Math.max(...[...model.engines.values()].map((engine) => engine.lastUsedSeconds));
}
