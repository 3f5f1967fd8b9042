import type { Auditor } from "./audit/auditor.ts";
import type { Feedback } from "./audit/feedback.ts";
import type { createLiveReport } from "./audit/report/live-report.ts";
import type { DecisionLog } from "./audit/log/decision-log.ts";
import type { EventFeed } from "./core/event-feed.ts";
import { GatewayError } from "./core/errors.ts";
import type { Log } from "./core/log.ts";
import type {
  AnswerRecord,
  AuditView,
  EngineList,
  ModelDescription,
  ModelSignature,
  ModelStatistics,
  Services,
} from "./http/services.ts";
import type { Inference } from "./inference/inference.ts";
import { observeAnswered } from "./inference/observe.ts";
import type { Statistics } from "./inference/statistics.ts";
import type { Metrics } from "./metrics/metrics.ts";
import { createMetricsService } from "./metrics/service.ts";
import type { EngineInfo } from "./core/engine.ts";
import type { Verdict } from "./audit/rules/rule.ts";
import type { Engine } from "./models/engine.ts";
import type { Model } from "./models/model.ts";
import type { Models } from "./models/models.ts";
import { createPage } from "./page/page.ts";
import type { Controller } from "./switching/controller.ts";
import type { Tracing } from "./tracing/tracing.ts";

/** The gateway's parts in the words of the HTTP face: nothing here decides anything. */
export function createServices(parts: {
  readonly models: Models;
  readonly inference: Inference;
  readonly controller: Controller;
  readonly auditor: Auditor;
  readonly feedback: Feedback;
  readonly decisions: DecisionLog;
  readonly feed: EventFeed;
  readonly metrics: Metrics;
  readonly statistics: Statistics;
  readonly live: { publish(): void };
  readonly report: ReturnType<typeof createLiveReport>;
  /** Undefined where tracing is off. */
  readonly tracing: Tracing | undefined;
  /** Gets one line a request; undefined where none are wanted. */
  readonly requestLog: Log | undefined;
}): Services {
  const { models, inference, controller, auditor, feedback, decisions, feed, metrics, statistics } = parts;
  const { live, report, tracing, requestLog } = parts;
  function signatureOf({ model, info }: { model: Model; info: EngineInfo }): ModelSignature {
    return { inputs: info.inputs, outputs: info.outputs, labels: model.config.labels };
  }

  return {
    inference: {
      resolve(name) {
        const described = inference.describe(name);
        return described instanceof Promise ? described.then(signatureOf) : signatureOf(described);
      },
      async infer(name, request) {
        const served = await inference.infer(models.get(name), request);
        const { engine, outputs, queueSeconds, engineSeconds } = served;
        return { engine: engine.id, outputs, queueSeconds, engineSeconds };
      },
      trace: tracing?.begin,
      onAnswered(record) {
        record.trace?.end(record);
        if (requestLog) requestLog.info(requestLine(record), "request");
        const model = models.find(record.model);
        // Names that clients make up must not become label values.
        if (!model) return;
        const deadlineMs = model.config.deadlineMs;
        observeAnswered(metrics, {
          model: record.model,
          engine: record.engine ?? "",
          status: record.status,
          seconds: record.seconds,
          deadlineSeconds: deadlineMs === undefined ? undefined : deadlineMs / 1000,
          exemplar: exemplarOf(record),
        });
        statistics.answered(record);
      },
    },
    models: {
      ready: () => {
        if (!models.started) return { ready: false, reason: "models are still loading" };
        const loading = models.list().find(({ state }) => state === "loading");
        return loading ? { ready: false, reason: `model "${loading.name}" is loading` } : { ready: true };
      },
      modelReady(name) {
        try {
          models.get(name);
          return { ready: true };
        } catch (error) {
          if (error instanceof GatewayError && error.code === "notFound" && !models.find(name)) throw error;
          return { ready: false, reason: (error as Error).message };
        }
      },
      describe(name) {
        const described = inference.describe(name);
        return described instanceof Promise ? described.then(descriptionOf) : descriptionOf(described);
      },
      index: () => models.index(),
      load: (name) => models.load(name),
      unload: (name) => models.unload(name),
      statistics(name) {
        const chosen = name === undefined ? models.list() : [models.get(name)];
        return chosen.map((model): ModelStatistics => ({ ...statistics.of(model.name), name: model.name }));
      },
    },
    engines: { list: (name) => engineList(models.get(name)) },
    switching: controller,
    audit: {
      verdicts: (name) => {
        const model = models.get(name);
        return auditView(model, controller, (engine) => auditor.verdicts(model, engine));
      },
      report,
    },
    feedback: { label: (name, id, label) => feedback.label(models.get(name), id, label) },
    log: decisions,
    events: {
      subscribe(listener, lastEventId) {
        const stop = feed.subscribe(listener, lastEventId);
        live.publish();
        return stop;
      },
    },
    metrics: createMetricsService({ metrics }),
    page: createPage(),
  };
}

/** Every verdict on every engine of a model, the active one included. */
export function auditView(
  model: Model,
  controller: Controller,
  verdictsOn: (engine: Engine) => readonly Verdict[],
): AuditView {
  return {
    model: model.name,
    reference: model.reference?.id ?? null,
    candidates: [model.active, ...model.candidates].flatMap((engine) =>
      engine
        ? [
            {
              engine: engine.id,
              state: controller.stateOf(model.name, engine.id),
              verdicts: verdictsOn(engine),
            },
          ]
        : [],
    ),
  };
}

/** A model's engines with state and role, those that cannot be used included. */
export function engineList(model: Model): EngineList {
  const broken = [...model.broken].map(([id, reason]) => ({
    id,
    state: "failed",
    reason,
    role: "none",
    compiler: "",
    precision: "",
    artifactSha256: "",
  }));
  return {
    model: model.name,
    active: model.active?.id ?? "",
    reference: model.reference?.id ?? null,
    engines: [
      ...[...model.engines.values()].map((engine) => ({
        id: engine.id,
        state: engine.state,
        reason: engine.reason,
        role: model.roleOf(engine),
        compiler: engine.manifest.compiler.name,
        precision: engine.manifest.precision,
        artifactSha256: engine.manifest.artifact.sha256,
      })),
      ...broken,
    ],
  };
}

function requestLine({
  id,
  model,
  engine,
  status,
  seconds,
  queueSeconds,
  engineSeconds,
  trace,
}: AnswerRecord) {
  return { id, model, engine, status, seconds, queueSeconds, engineSeconds, traceId: trace?.recordedTraceId };
}

/** What finds the request again. OpenMetrics allows 128 characters for name and value together. */
function exemplarOf({ id, trace }: AnswerRecord) {
  const traceId = trace?.recordedTraceId;
  if (traceId !== undefined) return { trace_id: traceId };
  return id !== undefined && id.length <= 100 ? { request_id: id } : undefined;
}

function descriptionOf({ model, info }: { model: Model; info: EngineInfo }): ModelDescription {
  return {
    name: model.name,
    inputs: info.inputs,
    outputs: info.outputs,
    labels: model.config.labels,
    compiler: model.active?.manifest.compiler.name ?? "",
    instances: model.config.instances.max,
    device: info.device.kind === "cpu" ? "cpu" : "gpu",
  };
}
