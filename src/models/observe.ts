import type { Metrics } from "../metrics/metrics.ts";
import type { Engine } from "./engine.ts";
import type { Model } from "./model.ts";

/** Shows who is active, in which state every engine is, and where it comes from. */
export function observeModel(metrics: Metrics, model: Model): void {
  for (const engine of model.engines.values()) {
    metrics.set("active_engine", { model: model.name, engine: engine.id }, engine === model.active ? 1 : 0);
    observeEngine(metrics, model.name, engine);
  }
}

const states = ["unloaded", "loading", "ready", "failed", "quarantined"] as const;

export function observeEngine(metrics: Metrics, model: string, engine: Engine): void {
  const { manifest, id, state } = engine;
  for (const each of states)
    metrics.set("engine_state", { model, engine: id, state: each }, each === state ? 1 : 0);
  metrics.set(
    "engine_info",
    {
      model,
      engine: id,
      compiler: manifest.compiler.name,
      compiler_version: manifest.compiler.version,
      precision: manifest.precision,
      build: manifest.build,
      artifact_sha256: manifest.artifact.sha256,
    },
    1,
  );
}
