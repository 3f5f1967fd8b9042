import type { Log } from "../core/log.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { SelfCheck } from "./self-check.ts";

/** Checks engines against themselves: when their shadow instance comes up, and again every `periodSeconds`. */
export interface SelfCheckSchedule {
  /** Checks the engine now; an engine that disagrees with itself is handed to `onDisagreement`. */
  check(model: Model, engine: Engine): Promise<void>;
  close(): Promise<void>;
}

export function createSelfCheckSchedule(options: {
  readonly models: () => Iterable<Model>;
  readonly run: (model: Model, engine: Engine) => Promise<SelfCheck[]>;
  readonly onDisagreement: (model: Model, engine: Engine, failed: readonly SelfCheck[]) => Promise<void>;
  readonly periodSeconds?: number;
  readonly log: Log;
}): SelfCheckSchedule {
  const { models, run, onDisagreement, periodSeconds = 600, log } = options;
  const state = { closed: false };
  let round: Promise<void> = Promise.resolve();

  async function check(model: Model, engine: Engine): Promise<void> {
    if (state.closed || engine.quarantined) return;
    const labels = { model: model.name, engine: engine.id };
    try {
      const checks = await run(model, engine);
      const failed = checks.filter(({ passed }) => !passed);
      log.debug({ ...labels, checks }, "self-check");
      if (failed.length > 0) await onDisagreement(model, engine, failed);
    } catch (error) {
      if (!state.closed) log.warn({ ...labels, err: error }, "self-check could not run");
    }
  }

  async function checkAll(): Promise<void> {
    for (const model of models())
      if (model.state === "ready")
        for (const engine of model.engines.values()) if (engine.shadowLoaded) await check(model, engine);
  }

  const timer = setInterval(() => (round = round.then(checkAll)), periodSeconds * 1000);
  timer.unref();
  return {
    check,
    async close() {
      state.closed = true;
      clearInterval(timer);
      await round;
    },
  };
}
