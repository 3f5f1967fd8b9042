import { isDeepStrictEqual } from "node:util";
import { statSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Turns } from "../core/turns.ts";
import { nearestHint } from "../core/yaml-file.ts";
import { Engine, EngineRetiredError, type EnginePool, type PoolRole } from "./engine.ts";
import type { EngineManifest, ModelConfig } from "./manifest.ts";
import { createMemoryBudget } from "./memory-budget.ts";
import { Model } from "./model.ts";
import type { EngineFolder, ModelFolder, Repository } from "./repository.ts";

/** What the outside is told, once each time it happens. */
export type ModelEvent =
  | { readonly type: "model"; readonly model: Model }
  | { readonly type: "removed"; readonly name: string }
  /** A reload has put `model` in the place of `before`, whose engines have ended unless they are the same. */
  | { readonly type: "replaced"; readonly before: Model; readonly model: Model }
  | { readonly type: "engine"; readonly model: string; readonly engine: Engine }
  | { readonly type: "coldStart"; readonly model: string; readonly engine: Engine; readonly seconds: number }
  /** The engine wanted could not be loaded at load time and another one serves. */
  | { readonly type: "fallback"; readonly model: Model; readonly wanted: string; readonly reason: string };

export interface ModelsOptions {
  readonly repository: Repository;
  readonly openPool: (
    model: ModelConfig,
    engine: EngineFolder & { manifest: EngineManifest },
    role: PoolRole,
  ) => EnginePool;
  /** Puts what the store knows of a model's engines (those taken out) in force; names the one that a switch made active. */
  readonly recall: (model: Model) => Promise<string | undefined>;
  readonly memoryBudgetBytes: number;
  /** Loads and switches of one model take turns, or a load would put back what a switch has just changed. */
  readonly turns: Turns;
  readonly onEvent: (event: ModelEvent) => void;
  readonly clock: Clock;
  readonly log: Log;
}

export interface IndexEntry {
  readonly name: string;
  readonly state: "READY" | "UNAVAILABLE" | "LOADING";
  readonly reason: string;
}

/** All models of the repository, their loading and unloading. */
export interface Models {
  /** Loads every eager model; ends when each is warm, or failed with a reason. Never rejects for a model's fault. */
  start(): Promise<void>;
  /** Start-up loading has ended and every model is ready, idle, unloaded on request, or failed. */
  readonly started: boolean;
  /** @throws GatewayError `notFound` for an unknown or unloaded model, `unavailable` for a failed one. */
  get(name: string): Model;
  /** The model in whatever state it is. */
  find(name: string): Model | undefined;
  list(): readonly Model[];
  index(): Promise<IndexEntry[]>;
  /** Reads the folder anew and puts it in force; the old state serves until the new one is warm. */
  load(name: string): Promise<void>;
  unload(name: string): Promise<void>;
  /** The engine that can answer now, or the active one once it is loaded. */
  wake(model: Model): Promise<Engine>;
  /** Takes every engine out for good, waiting for what it is answering, but for no load: one under way ends with this. */
  close(): Promise<void>;
}

export function createModels(options: ModelsOptions): Models {
  const { repository, openPool, recall, turns, onEvent, clock, log } = options;
  const models = new Map<string, Model>();
  /** Those whose first engine is being loaded; of a reload `models` has the one before until then. */
  const arriving = new Map<string, Model>();
  /** Models that could not even be read, with the reason. */
  const failures = new Map<string, string>();
  let started = false;
  /** What the repository had at the start; undefined before it was read. */
  let expected: ReadonlySet<string> | undefined;
  let closed = false;

  const budget = createMemoryBudget({
    limitBytes: options.memoryBudgetBytes,
    *engines() {
      for (const model of models.values())
        for (const engine of model.engines.values()) yield { engine, active: engine === model.active };
    },
    async evict(engine) {
      log.info(
        { model: engine.manifest.model, engine: engine.id },
        "unloading an idle engine: memory budget",
      );
      await engine.unload();
      const model = models.get(engine.manifest.model);
      if (model?.active === engine && model.state === "ready")
        setState(model, "idle", "evicted: memory budget");
    },
    seconds: clock.seconds,
    artifactBytes: ({ folder }) => statSync(join(folder.directory, folder.manifest.artifact.file)).size,
  });

  function setState(model: Model, state: Model["state"], reason: string | null = null): void {
    model.state = state;
    model.reason = reason;
    onEvent({ type: "model", model });
  }

  function refuseClosed(): void {
    if (closed) throw new GatewayError("unavailable", "the gateway is shutting down");
  }

  function createEngine(config: ModelConfig, folder: EngineFolder & { manifest: EngineManifest }): Engine {
    return new Engine({
      folder,
      openPool: (engineFolder, role) => openPool(config, engineFolder, role),
      async admit(engine, role) {
        refuseClosed();
        await budget.admit(engine, role);
        refuseClosed();
      },
      onChange: (engine) => {
        if (engine.state !== "loading") budget.settle(engine);
        // A retired engine's end must not pass for the state of the one that has taken its name.
        if (!engine.retired) onEvent({ type: "engine", model: config.name, engine });
      },
      onColdStart: (engine, seconds) => onEvent({ type: "coldStart", model: config.name, engine, seconds }),
      clock,
    });
  }

  /** The model as its folder says, with the engines of `before` that did not change. */
  function assemble(folder: ModelFolder & { config: ModelConfig }, before: Model | undefined): Model {
    // Nobody would retire the engines that it brings.
    refuseClosed();
    const engines = new Map<string, Engine>();
    const broken = new Map<string, string>();
    for (const entry of folder.engines) {
      if (!entry.manifest) {
        broken.set(entry.id, entry.error ?? "no manifest");
        log.warn({ model: folder.name, engine: entry.id, reason: entry.error }, "engine cannot be used");
        continue;
      }
      const old = before?.engines.get(entry.id);
      const same =
        old !== undefined &&
        before !== undefined &&
        isDeepStrictEqual(old.manifest, entry.manifest) &&
        isDeepStrictEqual(hostSettings(before.config), hostSettings(folder.config));
      engines.set(entry.id, same ? old : createEngine(folder.config, { ...entry, manifest: entry.manifest }));
    }
    warnOfNames(folder, { engines, broken });
    return new Model({
      name: folder.name,
      directory: folder.directory,
      config: folder.config,
      engines,
      broken,
    });
  }

  /** What model.yaml names and is not there is served without, but not without a word. */
  function warnOfNames(
    { name, config }: { readonly name: string; readonly config: ModelConfig },
    { engines, broken }: Pick<Model, "engines" | "broken">,
  ): void {
    const warn = (key: string, engine: string, consequence: string) => {
      if (engines.has(engine)) return;
      const reason =
        broken.get(engine) ?? `there is no such engine; ${nearestHint(engine, [...engines.keys()])}`;
      log.warn({ model: name, [key]: engine, reason }, `${key} in model.yaml cannot be used: ${consequence}`);
    };
    const { reference, active, candidates = [] } = config;
    if (reference !== undefined)
      warn(
        "reference",
        reference,
        "flips and divergence are not judged, and nothing is promoted automatically",
      );
    if (active !== undefined) warn("active", active, "another engine serves");
    for (const candidate of candidates) warn("candidates", candidate, "it is not shadowed");
  }

  function warnOfOutputs({ name, config: { tolerance }, info }: Model): void {
    const outputs = info?.outputs.map((output) => output.name) ?? [];
    for (const output of Object.keys(tolerance?.outputs ?? {}))
      if (!outputs.includes(output))
        log.warn(
          { model: name, output, reason: `there is no such output; ${nearestHint(output, outputs)}` },
          "tolerance.outputs in model.yaml names what the model does not give: it has no effect",
        );
  }

  /** Engines in the order they are tried as active; one that was taken out only before there is nothing at all. */
  async function preferences(model: Model, before: Model | undefined): Promise<Engine[]> {
    const stored = await recall(model);
    const wanted = [before?.active?.id, stored, model.config.active, model.reference?.id];
    const engines = [
      ...wanted.map((id) => (id === undefined ? undefined : model.engines.get(id))),
      ...model.engines.values(),
    ];
    return [...new Set(engines.filter((engine) => engine !== undefined))].toSorted(
      (a, b) => Number(b.canTakeOver) - Number(a.canTakeOver),
    );
  }

  async function activateFirst(model: Model, before: Model | undefined): Promise<void> {
    const order = await preferences(model, before);
    let firstError: unknown;
    for (const engine of order) {
      try {
        await engine.load();
      } catch (error) {
        // The gateway ends, which says nothing about the engine.
        if (error instanceof EngineRetiredError) throw error;
        log.error({ model: model.name, engine: engine.id, err: error }, "engine cannot be loaded");
        firstError ??= error;
        continue;
      }
      model.activate(engine);
      if (engine !== order[0])
        onEvent({
          type: "fallback",
          model,
          wanted: order[0]?.id ?? "",
          reason: (firstError as Error).message,
        });
      return;
    }
    if (firstError) throw firstError;
    const why = [...model.broken].map(([id, reason]) => `${id}: ${reason}`).join("; ");
    throw new GatewayError(
      "unavailable",
      `model "${model.name}" has no engine${why ? ` that can be used (${why})` : ""}; build one with: crosscheck compile ${join(model.directory, "model.onnx")} --model ${model.name} --compiler onnxruntime`,
    );
  }

  async function loadModel(name: string): Promise<void> {
    const folder = await repository.read(name).catch((error: unknown) => {
      if (models.has(name) && error instanceof GatewayError && error.code === "notFound") return undefined;
      throw error;
    });
    const before = models.get(name);
    if (!folder) {
      await removeModel(name);
      throw new GatewayError("notFound", `model "${name}" is no longer in the repository; it was unloaded`);
    }
    const { config } = folder;
    if (!config) throw new GatewayError("conflict", `model "${name}" cannot be used: ${folder.error}`);
    const model = assemble({ ...folder, config }, before);
    // Until the new state is warm, the old one (if any) goes on answering.
    const serving = before?.state === "ready" || before?.state === "idle";
    if (!serving) models.set(name, model);
    if (!serving) setState(model, "loading");
    arriving.set(name, model);
    try {
      await activateFirst(model, before);
    } catch (error) {
      if (!serving && !closed) setState(model, "failed", (error as Error).message);
      throw error;
    } finally {
      arriving.delete(name);
    }
    warnOfOutputs(model);
    const standby = before?.standby && model.engines.get(before.standby.id);
    if (standby !== model.active) model.standby ??= standby;
    models.set(name, model);
    // Whoever still holds the one before (shadow work, a queue) must not start its engines again.
    if (before) before.state = "unloaded";
    setState(model, "ready");
    await Promise.all(
      [...(before?.engines.values() ?? [])]
        .filter((engine) => model.engines.get(engine.id) !== engine)
        .map((engine) => engine.retire()),
    );
    if (before) onEvent({ type: "replaced", before, model });
  }

  async function removeModel(name: string): Promise<void> {
    const model = models.get(name);
    models.delete(name);
    if (model) model.state = "unloaded";
    await Promise.all([...(model?.engines.values() ?? [])].map((engine) => engine.retire()));
    onEvent({ type: "removed", name });
  }

  async function unloadEngines(model: Model): Promise<void> {
    await Promise.all([...model.engines.values()].map((engine) => engine.unload()));
  }

  async function prepare(name: string): Promise<void> {
    const folder = await repository.read(name);
    if (folder.config?.load !== "onDemand") return loadModel(name);
    const model = assemble({ ...folder, config: folder.config }, undefined);
    const [first] = await preferences(model, undefined);
    if (!first) return loadModel(name);
    model.activate(first);
    models.set(name, model);
    setState(model, "idle", "loads on demand");
  }

  /** Nobody has used the model for as long as its folder says. */
  function unused(model: Model): boolean {
    const limit = model.config.idleUnloadSeconds;
    if (limit === 0 || !model.active || models.get(model.name) !== model) return false;
    const engines = [...model.engines.values()];
    // An idle model holds engines too, when one was pinned, or made active and not asked yet.
    const holds = model.state === "idle" && engines.some((engine) => engine.resident);
    if (model.state !== "ready" && !holds) return false;
    const lastUsed = Math.max(...engines.map((engine) => engine.lastUsedSeconds));
    return !engines.some((engine) => engine.busy) && clock.seconds() - lastUsed >= limit;
  }

  function unloadIdle(): void {
    for (const model of models.values())
      if (unused(model))
        void turns.take(model.name, async () => {
          // A switch may have come first.
          if (!unused(model)) return;
          if (model.state === "ready")
            setState(model, "idle", `not used for ${model.config.idleUnloadSeconds} s`);
          await unloadEngines(model);
        });
  }
  const sweep = setInterval(unloadIdle, 500);
  sweep.unref();

  async function wakeActive(model: Model): Promise<Engine> {
    const engine = model.active;
    if (!engine) throw new GatewayError("unavailable", `model "${model.name}" has no active engine`);
    if (!engine.serving) await engine.load();
    if (model.state === "idle") setState(model, "ready");
    return engine;
  }

  return {
    async start() {
      const names = await repository.names();
      expected = new Set(names);
      await Promise.all(
        names.map((name) =>
          turns
            .take(name, () => prepare(name))
            .catch((error: unknown) => {
              if (closed) return;
              log.error({ model: name, err: error }, "model cannot be loaded");
              failures.set(name, (error as Error).message);
            }),
        ),
      );
      started = true;
    },
    get started() {
      return started;
    },
    get(name) {
      const model = models.get(name);
      if (model && (model.state === "ready" || model.state === "idle")) return model;
      if (model?.state === "unloaded")
        throw new GatewayError(
          "notFound",
          `model "${name}" is unloaded; load it with POST /v2/repository/models/${name}/load`,
        );
      if (model?.state === "failed")
        throw new GatewayError("unavailable", `model "${name}" failed: ${model.reason}`);
      const failure = failures.get(name);
      const isComing = !started && failure === undefined && (expected?.has(name) ?? true);
      if (model || isComing)
        throw new GatewayError("unavailable", `model "${name}" is loading`, { retryAfterSeconds: 1 });
      if (failure !== undefined) throw new GatewayError("unavailable", `model "${name}" failed: ${failure}`);
      throw new GatewayError(
        "notFound",
        `model "${name}" is not known; GET /v2/models/stats or POST /v2/repository/index list the models`,
      );
    },
    find: (name) => models.get(name),
    list: () => [...models.values()],
    async index() {
      const names = new Set([...(await repository.names()), ...models.keys()]);
      return [...names].toSorted().map((name) => indexEntry(name, models.get(name), failures.get(name)));
    },
    load: (name) =>
      turns.take(name, async () => {
        await loadModel(name);
        failures.delete(name);
      }),
    unload: (name) =>
      turns.take(name, async () => {
        const model = models.get(name);
        if (!model)
          throw new GatewayError("notFound", `model "${name}" is not known, so it cannot be unloaded`);
        setState(model, "unloaded", "unloaded");
        await unloadEngines(model);
      }),
    async wake(model) {
      if (model.active?.serving) return wakeActive(model);
      // A resident engine answers while the active one comes up; the request names it.
      const resident = [model.standby, ...model.engines.values()].find(
        (engine) => engine?.serving && engine.canTakeOver,
      );
      const waking = wakeActive(model);
      if (!resident) return waking;
      waking.catch((error: unknown) => {
        if (!(error instanceof EngineRetiredError))
          log.error({ model: model.name, err: error }, "active engine cannot be loaded");
      });
      return resident;
    },
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(sweep);
      // Not in turn: a load or a switch under way may be waiting for one of these, and ends with it.
      const known = [...models.values(), ...arriving.values()];
      const engines = known.flatMap((model) => [...model.engines.values()]);
      await Promise.all(engines.map((engine) => engine.retire()));
      // That turn ends soon then, and with it the unloading of what a reload has just replaced.
      await Promise.all(known.map(({ name }) => turns.take(name, () => undefined)));
    },
  };
}

/** What of a model's settings its host processes depend on. */
function hostSettings({ threads, instances, isolation, watchdogMs }: ModelConfig): object {
  return { threads, instances, isolation, watchdogMs };
}

function indexEntry(name: string, model: Model | undefined, failure: string | undefined): IndexEntry {
  if (!model) return { name, state: "UNAVAILABLE", reason: failure ?? "not loaded" };
  if (model.state === "ready" || model.state === "idle") return { name, state: "READY", reason: "" };
  return { name, state: model.state === "loading" ? "LOADING" : "UNAVAILABLE", reason: model.reason ?? "" };
}
