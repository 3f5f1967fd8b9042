import type { Auditor } from "./audit/auditor.ts";
import type { EventFeed } from "./core/event-feed.ts";
import type { Log } from "./core/log.ts";
import type { Statistics } from "./inference/statistics.ts";
import type { Metrics } from "./metrics/metrics.ts";
import type { ModelEvent } from "./models/models.ts";
import { observeEngine, observeModel } from "./models/observe.ts";
import type { SelfCheckSchedule } from "./shadow/self-check-schedule.ts";
import type { Shadow } from "./shadow/shadow.ts";
import type { Controller } from "./switching/controller.ts";
import { engineList } from "./services.ts";

/** Carries what happens to models to those who keep or show it: metrics, events, log, decisions. */
export function createObserver(parts: {
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly controller: Controller;
  readonly statistics: Statistics;
  readonly auditor: Auditor;
  readonly shadow: Shadow;
  readonly selfChecks: SelfCheckSchedule;
  readonly log: Log;
}): (event: ModelEvent) => void {
  const { metrics, feed, controller, statistics, auditor, shadow, selfChecks, log } = parts;
  return (event) => {
    switch (event.type) {
      case "model": {
        const { model } = event;
        log.info({ model: model.name, state: model.state, reason: model.reason }, "model");
        if (model.state === "ready" || model.state === "idle") controller.adopt(model);
        if (model.state === "ready") {
          shadow.prepare(model);
          selfChecks.loaded(model);
        }
        observeModel(metrics, model);
        feed.emit("state", { ...engineList(model), state: model.state, reason: model.reason });
        break;
      }
      case "engine":
        observeEngine(metrics, event.model, event.engine);
        feed.emit("state", {
          model: event.model,
          engine: { id: event.engine.id, state: event.engine.state, reason: event.engine.reason },
        });
        break;
      case "coldStart":
        metrics.observe("cold_start_seconds", { model: event.model, engine: event.engine.id }, event.seconds);
        break;
      case "replaced": {
        const { before, model } = event;
        auditor.retain(model);
        for (const id of before.engines.keys())
          if (!model.engines.has(id)) metrics.removeModel({ model: model.name, engine: id });
        // Rules, candidates and artifacts may be others; what still holds is shown again within a second.
        for (const name of [
          "verdict",
          "evidence_samples",
          "divergence",
          "noise_floor",
          "engine_info",
        ] as const)
          metrics.remove(name, { model: model.name });
        observeModel(metrics, model);
        break;
      }
      case "removed":
        metrics.removeModel({ model: event.name });
        statistics.forget(event.name);
        auditor.forget(event.name);
        feed.emit("state", { model: event.name, state: "removed" });
        break;
      case "fallback":
        controller
          .note(event.model, {
            type: "fallback",
            from: event.wanted,
            to: event.model.active?.id ?? null,
            trigger: "startup",
            actor: "gateway",
            reason: event.reason,
          })
          .catch((error: unknown) => log.error({ err: error }, "a fallback could not be logged"));
        break;
      default:
        event satisfies never;
    }
  };
}
