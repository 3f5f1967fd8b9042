import { GatewayError } from "../core/errors.ts";
import type { EngineInfo } from "../core/engine.ts";
import type { Engine } from "./engine.ts";
import type { ModelConfig } from "./manifest.ts";

/** `idle`: unloaded because unused, comes back with the next request. `unloaded`: by the API, stays away until loaded. */
export type ModelState = "loading" | "ready" | "idle" | "unloaded" | "failed";

export type EngineRole = "active" | "candidate" | "standby" | "none";

/** What a client asks for by name, and the engines that can answer for it. */
export class Model {
  readonly name: string;
  readonly directory: string;
  readonly config: ModelConfig;
  readonly engines: ReadonlyMap<string, Engine>;
  /** The engine that flips and divergence are judged against, if there is one. */
  readonly reference: Engine | undefined;
  /** Engines whose folder cannot be used, with the reason. */
  readonly broken: ReadonlyMap<string, string>;
  state: ModelState = "unloaded";
  reason: string | null = null;
  /** The last good active engine, kept loaded for fail-over and roll-back. */
  standby: Engine | undefined;
  #active: Engine | undefined;

  constructor(fields: {
    readonly name: string;
    readonly directory: string;
    readonly config: ModelConfig;
    readonly engines: ReadonlyMap<string, Engine>;
    readonly broken: ReadonlyMap<string, string>;
  }) {
    this.name = fields.name;
    this.directory = fields.directory;
    this.config = fields.config;
    this.engines = fields.engines;
    this.reference = referenceOf(fields);
    this.broken = fields.broken;
  }

  get active(): Engine | undefined {
    return this.#active;
  }

  /** The switch itself: one assignment between two requests. Requests in flight end where they began. */
  activate(engine: Engine): void {
    if (engine === this.#active) return;
    this.standby = this.#active?.canTakeOver ? this.#active : undefined;
    this.#active = engine;
  }

  /** Engines that run in shadow: the configured ones, by default all, but the active one; the reference always. */
  get candidates(): Engine[] {
    return [...this.engines.values()].filter((engine) => this.#isCandidate(engine));
  }

  /** There is somebody to compare the active engine with. Asked for every live request, so it makes no list. */
  get isShadowed(): boolean {
    if (this.config.shadow.sampleRate === 0) return false;
    for (const engine of this.engines.values()) if (this.#isCompared(engine)) return true;
    return false;
  }

  /** Engines that run beside the live traffic, the active one as control; none unless it `isShadowed`. */
  get shadowed(): Engine[] {
    if (!this.isShadowed) return [];
    const compared = [...this.engines.values()].filter((engine) => this.#isCompared(engine));
    return this.#active && !this.#active.quarantined ? [this.#active, ...compared] : compared;
  }

  #isCandidate(engine: Engine): boolean {
    if (engine === this.#active) return false;
    const chosen = this.config.candidates;
    return chosen === undefined || chosen.includes(engine.id) || engine === this.reference;
  }

  /** The others are measured by the reference, so that it goes on even in quarantine. */
  #isCompared(engine: Engine): boolean {
    return this.#isCandidate(engine) && (!engine.quarantined || engine === this.reference);
  }

  roleOf(engine: Engine): EngineRole {
    if (engine === this.#active) return "active";
    if (this.candidates.includes(engine)) return "candidate";
    return engine === this.standby ? "standby" : "none";
  }

  /** @throws GatewayError `notFound` that names the engines there are; `conflict` when its folder cannot be used. */
  engine(id: string): Engine {
    const engine = this.engines.get(id);
    if (engine) return engine;
    const why = this.broken.get(id);
    if (why !== undefined)
      throw new GatewayError("conflict", `engine "${id}" of model "${this.name}" cannot be used: ${why}`);
    throw new GatewayError(
      "notFound",
      `model "${this.name}" has no engine "${id}"; it has ${[...this.engines.keys()].join(", ") || "none"}`,
    );
  }

  /** Inputs and outputs, from the active engine or any that was loaded. */
  get info(): EngineInfo | undefined {
    if (this.#active?.info) return this.#active.info;
    for (const engine of this.engines.values()) if (engine.info) return engine.info;
    return undefined;
  }
}

function referenceOf(model: Pick<Model, "config" | "engines">): Engine | undefined {
  const { reference } = model.config;
  if (reference !== undefined) return model.engines.get(reference);
  for (const engine of model.engines.values())
    if (engine.manifest.compiler.name === "onnxruntime" && engine.manifest.precision === "fp32")
      return engine;
  return undefined;
}
