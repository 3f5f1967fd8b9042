import type { Auditor } from "./audit/auditor.ts";
import type { EventFeed } from "./core/event-feed.ts";
import type { Devices } from "./devices/devices.ts";
import type { Inference } from "./inference/inference.ts";
import { createSlices } from "./metrics/exposition.ts";
import type { Metrics } from "./metrics/metrics.ts";
import type { Model } from "./models/model.ts";
import type { Models } from "./models/models.ts";
import { auditView } from "./services.ts";
import type { Controller } from "./switching/controller.ts";

const periodMs = 1000;

/**
 * Once a second, while someone watches: an event `metrics` with what the page draws, and an event `verdict` for each
 * model. The verdicts' metrics are brought up to date in the same turn, watched or not.
 */
export function publishLive(parts: {
  readonly models: Models;
  readonly inference: Inference;
  readonly auditor: Auditor;
  readonly controller: Controller;
  readonly devices: Devices;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
}): { close(): void } {
  const { models, inference, auditor, controller, devices, metrics, feed } = parts;
  let busy = false;

  async function publish(): Promise<void> {
    const slices = createSlices();
    for (const model of models.list()) {
      if (model.state !== "ready") continue;
      auditor.publish([model]);
      metrics.set("queue_length", { model: model.name }, inference.waiting(model.name));
      const shares = controller.shares(model);
      for (const engine of model.engines.values()) {
        const labels = { model: model.name, engine: engine.id };
        metrics.set("traffic_share_ratio", labels, shares.get(engine.id) ?? 0);
        metrics.set("host_resident_bytes", { ...labels, instance: "all" }, engine.residentBytes());
      }
      if (!feed.quiet) feed.emit("verdict", auditView(model, auditor, controller));
      // Many engines are many verdicts: live requests come in between.
      if (slices.due()) await slices.pause();
    }
    if (feed.quiet) return;
    feed.emit("metrics", {
      models: models.list().map((model) => modelFigures(model, parts)),
      devices: devices.latest(),
      board: devices.board(),
    });
  }

  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void publish().finally(() => (busy = false));
  }, periodMs);
  timer.unref();
  return { close: () => clearInterval(timer) };
}

function modelFigures(
  model: Model,
  { inference, metrics, auditor, controller }: Parameters<typeof publishLive>[0],
): object {
  const base = model.reference ?? model.active;
  return {
    model: model.name,
    active: model.active?.id ?? null,
    reference: model.reference?.id ?? null,
    queueLength: inference.waiting(model.name),
    shares: Object.fromEntries(controller.shares(model)),
    engines: [...model.engines.values()].map((engine) => ({
      engine: engine.id,
      residentBytes: engine.residentBytes(),
      latency: Object.fromEntries(
        (["active", "control", "shadow"] as const).flatMap((role) => {
          const summary = metrics.latency({ model: model.name, engine: engine.id, role }).summary();
          return summary ? [[role, summary]] : [];
        }),
      ),
      divergence: base && base !== engine ? divergenceOf(auditor, model, base, engine) : [],
    })),
  };
}

function divergenceOf(
  auditor: Auditor,
  model: Model,
  reference: NonNullable<Model["active"]>,
  candidate: NonNullable<Model["active"]>,
): object[] {
  const figures: object[] = [];
  auditor.divergence(model, reference, candidate)?.each((output, metric, quantile) => {
    figures.push({ output, metric, p50: quantile(0.5), p99: quantile(0.99), max: quantile(1) });
  });
  return figures;
}
