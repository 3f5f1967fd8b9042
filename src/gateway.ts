import { createHash } from "node:crypto";
import { join } from "node:path";
import { createAuditor } from "./audit/auditor.ts";
import { createEvidenceKeeper } from "./audit/evidence-keeper.ts";
import { createFeedback } from "./audit/feedback.ts";
import { createLiveReport } from "./audit/report/live-report.ts";
import { openDecisionLog } from "./audit/log/decision-log.ts";
import { openLogEnd } from "./audit/log/log-end.ts";
import type { Families } from "./building/families.ts";
import { createComparer } from "./compare/comparer.ts";
import type { Config } from "./config.ts";
import { systemClock } from "./core/clock.ts";
import { type CoreSplit, keepThreadTo } from "./core/cores.ts";
import { createEventFeed } from "./core/event-feed.ts";
import type { Log } from "./core/log.ts";
import { createTurns } from "./core/turns.ts";
import { deviceState } from "./device-state.ts";
import { createDevices } from "./devices/devices.ts";
import { HostCores } from "./hosting/host-cores.ts";
import { createInlineRunner } from "./hosting/inline-runner.ts";
import { createPool, type PoolEvent } from "./hosting/pool.ts";
import type { Services } from "./http/services.ts";
import { createFailoverNotes } from "./inference/failover-notes.ts";
import { createInference } from "./inference/inference.ts";
import { observeServed } from "./inference/observe.ts";
import { Statistics } from "./inference/statistics.ts";
import { publishLive } from "./live-events.ts";
import { watchEventLoop } from "./metrics/event-loop.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { createModels } from "./models/models.ts";
import { openRepository } from "./models/repository.ts";
import { createServices } from "./services.ts";
import { createObserver } from "./observer.ts";
import { createRecorder } from "./shadow/recorder.ts";
import { createSelfCheckSchedule } from "./shadow/self-check-schedule.ts";
import { selfCheck } from "./shadow/self-check.ts";
import { createShadow } from "./shadow/shadow.ts";
import { createSpareTime } from "./core/spare-time.ts";
import { createShadowThread } from "./shadow/shadow-thread.ts";
import { openStore } from "./store/open-store.ts";
import type { Delivery, StoreCommand } from "./store/store.ts";
import { createController } from "./switching/controller.ts";
import { openTracing } from "./tracing/open-tracing.ts";

export interface Gateway {
  /** What the HTTP face is made of. */
  readonly services: Services;
  /** Loads the eager models; resolves when each is warm, or failed with a reason. */
  start(): Promise<void>;
  /** Ends in reverse order what was begun; requests in flight are answered first. */
  close(): Promise<void>;
}

const slowEndMs = 5_000;

/** Joins the parts; reads as the data flows: request -> models -> engine -> reply -> shadow -> audit -> switching. */
export async function createGateway(options: {
  readonly config: Config;
  readonly families: Families;
  /** How this process shares out its cores, if it does. */
  readonly cores?: CoreSplit | undefined;
  readonly version: string;
  readonly log: Log;
}): Promise<Gateway> {
  const { config, families, cores, version, log } = options;
  const clock = systemClock;
  const random = Math.random;
  const repository = await openRepository(config.repository);

  // What is known: state and decisions on disk, measurements in memory, events for those who watch.
  const store = await openStore(config.store, log);
  const keyPrefix = `${createHash("sha256").update(repository.path).digest("hex").slice(0, 16)}/`;
  const feed = createEventFeed();
  const metrics = createMetrics({ clock });
  metrics.set("build_info", { version, node: process.versions.node }, 1);
  const eventLoop = watchEventLoop(metrics);
  const logEnd = await openLogEnd({ store, log });
  let delivery: Delivery | undefined;
  const decisions = await openDecisionLog({
    directory: join(config.store.path, "log"),
    repository: repository.path,
    clock,
    onAppend: (entry) => {
      // None yet for the line that notes a repair, at opening: what is there already is delivered at the start.
      delivery?.wake();
      logEnd.note(entry);
      feed.emit("decision", entry);
    },
  });
  delivery = store.deliver(decisions);
  await logEnd.check(decisions);
  const devices = createDevices({ clock, log, metrics });
  const statistics = new Statistics();
  const tracing = await openTracing({ ...config.tracing, version, random, clock, log });

  const turns = createTurns();

  // Models and their engines, each in host processes of its own.
  const hostCores = cores?.serving.length === 1 ? new HostCores(cores) : undefined;
  const models = createModels({
    repository,
    openPool: (model, engine, role) => {
      const { manifest, directory } = engine;
      const { host: command, inline } = families.compiler(manifest.compiler.name);
      const common = {
        label: { model: model.name, engine: engine.id },
        artifact: { path: join(directory, manifest.artifact.file), sha256: manifest.artifact.sha256 },
        manifest,
        directory,
        threads: model.threads,
      };
      // Engines that cannot run in this process keep their hosts, and shadow runs are never let into it.
      if (role === "serving" && model.isolation === "inline" && inline !== undefined) {
        // Its threads begin on the cores of the one that loads it: this one.
        if (cores && model.threads > cores.serving.length) keepThreadTo(cores.all);
        return createInlineRunner({ ...common, clock, program: inline });
      }
      const hosted = {
        ...common,
        host: { command: [command.file, ...command.args], workingDirectory: command.cwd, env: command.env },
        instances: role === "serving" ? model.instances : { min: 1, max: 1 },
        priority: role,
        watchdogMs: model.watchdogMs,
      };
      const onEvent = (event: PoolEvent) => {
        if (event.type === "restarted")
          metrics.inc("host_restarts_total", {
            model: model.name,
            engine: engine.id,
            reason: event.reason,
          });
        if (event.type === "failed" && role === "serving") noteFailed(model.name, engine.id, event.message);
      };
      if (role === "shadow") return shadowThread.openPool(hosted, onEvent);
      return createPool({ ...hosted, cores: hostCores, clock, log, onEvent });
    },
    recall: async (model) => {
      await keeper.restore(model);
      await feedback.restore(model);
      return controller.recall(model);
    },
    memoryBudgetBytes: config.memoryBudgetBytes ?? Infinity,
    turns,
    onEvent: (event) => observe(event),
    clock,
    log,
  });

  // Who serves: by hand, by policy, by health; each decision in the log before it is carried out.
  const controller = createController({
    models,
    decisions,
    store,
    keyPrefix,
    repository: repository.path,
    evidence: {
      verdicts: (model, engine) => auditor.verdicts(model, engine),
      judge: (model, engine, slices) => auditor.judge(model, engine, slices),
      lastVerdicts: (model, engine) => auditor.lastVerdicts(model, engine),
      restart: (model, engine) => auditor.restart(model, engine),
    },
    turns,
    onSwitched: (model, { from, to, trigger }) =>
      metrics.inc("switches_total", { model: model.name, from: from ?? "", to: to ?? "", trigger }),
    onChanged: (model) => observe({ type: "model", model }),
    random,
    clock,
    log,
  });

  /** An engine that gave up changes who can serve, so the log has it. */
  function noteFailed(name: string, engine: string, reason: string): void {
    const model = models.find(name);
    const about = { from: engine, to: null, trigger: "health", actor: "gateway", reason } as const;
    if (model)
      controller
        .note(model, { type: "engineFailed", ...about })
        .catch((error: unknown) => log.error({ err: error }, "a failed engine could not be logged"));
  }

  const failovers = createFailoverNotes({
    write: ({ model, from, to, reason }, requests) => {
      const about = { from: from.id, to: to.id, trigger: "health", actor: "gateway" } as const;
      const words = `${requests} ${requests === 1 ? "request" : "requests"} moved: ${reason}`;
      controller
        .note(model, { type: "failover", ...about, reason: words, details: { requests } })
        .catch((error: unknown) => log.error({ err: error }, "a fail-over could not be logged"));
    },
  });

  // The hot path, and what it tells about each request when the reply is out.
  const inference = createInference({
    models,
    limits: config.limits,
    chooseCanary: (model) => controller.chooseCanary(model),
    onServed: (served) => {
      const { model, engine, askedSeconds, answeredSeconds } = served;
      observeServed(metrics, served);
      tracing?.served({ ...served, engine: engine.id });
      feedback.answered(model, served.id, engine, served.outputs);
      if (served.pinned) return;
      auditor.answered({ model, engine, seconds: answeredSeconds - askedSeconds });
      if (served.canary) controller.canaryServed(model, engine);
      recorder.record(model, served.id, served.inputs);
      shadow.offer(served);
    },
    onFailed: ({ model, engine }) => auditor.failed(model, engine),
    onUnanswered: ({ model, engine }) => auditor.unanswered(model, engine),
    onFailover: ({ model, from, to, error, id }) => {
      metrics.inc("failovers_total", { model: model.name, engine: from.id, reason: error.reason });
      log.warn({ model: model.name, id, from: from.id, to: to.id, reason: error.reason }, "request moved");
      failovers.add({ model, from, to, reason: error.reason });
    },
    clock,
    log,
  });

  // Beside the traffic: the same inputs on the other engines when nobody waits, and what that tells about them.
  const spareTime = createSpareTime(inference.load);
  const shadowThread = createShadowThread({ load: inference.load.memory, spareTime, clock, log });
  const comparer = createComparer();
  const keeper = createEvidenceKeeper({
    store,
    keyPrefix,
    seed: () => Math.floor(random() * 2 ** 32),
    log,
  });
  const auditor = createAuditor({
    keeper,
    metrics,
    deviceState: (engine) => deviceState(devices, engine),
    roleOf: (model, engine) => controller.roleOf(model, engine),
    clock,
    log,
  });
  const feedback = createFeedback({ store, keyPrefix, log });
  const recorder = createRecorder({ log });
  const shadow = createShadow({
    run: (job) => shadowThread.run(job),
    compareOptions: (model) => auditor.compareOptions(model),
    onRuns: (served, runs) => {
      tracing?.shadowed(
        served.traceParent,
        served.model.name,
        runs.map((run) => ({ ...run, engine: run.engine.id })),
      );
      for (const { engine, predicted } of runs)
        if (engine !== served.engine) feedback.predicted(served.model, served.id, engine, predicted);
      auditor.ran(served.model, runs);
    },
    onCompared: ({ model, id }, comparison) => auditor.compared(model, id, comparison),
    onStarted: (model, engine) => selfChecks.check(model, engine),
    onDropped: (model, reason, count) => metrics.inc("shadow_dropped_total", { model, reason }, count),
    random,
    live: inference.load,
    cores,
    spareTime,
    clock,
    log,
  });

  const selfChecks = createSelfCheckSchedule({
    models: () => models.list(),
    mayBorrow: config.memoryBudgetBytes === undefined,
    run: (model, engine) => selfCheck(model, engine, { comparer, store, keyPrefix, log }),
    onDisagreement: (model, engine, failed) =>
      controller.quarantine(
        model,
        engine,
        `disagrees with itself: ${failed.map(({ check }) => check).join(", ")}`,
        {
          trigger: "health",
          details: { selfChecks: failed },
        },
      ),
    log,
  });

  const observe = createObserver({ metrics, feed, controller, statistics, auditor, shadow, selfChecks, log });
  const parts = { models, inference, controller, auditor, feedback, decisions, feed, metrics, statistics };
  const live = publishLive({ ...parts, devices, store, spareTime, clock });
  const requestLog = config.log.requests ? log : undefined;
  const report = createLiveReport({
    ...parts,
    readings: () => devices.latest(),
    crosscheckVersion: version,
    clock,
  });
  const services = createServices({ ...parts, live, report, tracing, requestLog });

  /** Commands from elsewhere in the fleet. */
  const obey = ({ type, model, engine = "", reason, actor }: StoreCommand) =>
    type === "switch"
      ? controller.switch(model, engine, reason, actor)
      : controller.rollback(model, reason, actor);
  let stopCommands = () => Promise.resolve();
  let closed = false;
  /** A gateway that does not end says what it waits for. */
  const ended = async (part: string, ending: Promise<unknown>) => {
    const tell = () => log.warn({ part }, "stopping: this part has not ended yet");
    const timer = setInterval(tell, slowEndMs).unref();
    await ending.finally(() => clearInterval(timer));
  };

  return {
    services,
    async start() {
      await models.start();
      // Not before: a model that is still loading could only refuse them.
      if (!closed) stopCommands = store.onCommand(obey);
    },
    async close() {
      closed = true;
      live.close();
      // These begin nothing more; what they are at ends with its hosts, which on a busy machine may not answer for long.
      const checked = selfChecks.close();
      shadow.close();
      // Its hosts go with it; at the lowest priority it might take long to end them one by one.
      const threadEnded = shadowThread.close();
      // Begun before those who decide are waited for: what they are at may be waiting for an engine that takes minutes to
      // load, and ends with it. They can load nothing any more, for the engines are retired.
      const unloading = models.close();
      await ended("commands", stopCommands());
      await ended("controller", controller.close());
      await ended("engines", unloading);
      await ended("shadow thread", threadEnded);
      await ended("comparer", comparer.close());
      await ended("self-checks", checked);
      await ended("evidence", keeper.close());
      await ended("feedback", feedback.close());
      eventLoop.close();
      devices.close();
      failovers.close();
      await ended("decision log", decisions.close());
      await ended("end of the log", logEnd.close());
      await ended("store", store.close());
      if (tracing) await ended("tracing", tracing.close());
    },
  };
}
