import type { Clock } from "../core/clock.ts";
import type { EngineInfo, EngineRequest, EngineResult, Runner } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import type { EngineFolder } from "./repository.ts";
import type { EngineManifest } from "./manifest.ts";
import { prime, warmUp } from "./warm-up.ts";

/**
 * quarantined: loaded or not, it is given no live request until a person lifts it. `ready` says that a serving
 * instance, or at least the shadow instance, is loaded.
 */
export type EngineState = "unloaded" | "loading" | "ready" | "failed" | "quarantined";

/** Host processes of one engine in one role. */
export interface EnginePool extends Runner {
  start(): Promise<EngineInfo>;
  close(): Promise<void>;
  /** Instances that can take a request now. */
  readonly healthy: number;
  /** Requests waiting for a slot. */
  readonly pending: number;
  /** Resident memory of all its processes. */
  residentBytes(): number;
  /** The live ones: number in the pool, resident memory. Empty where an engine runs in this process. */
  readonly processes: readonly { readonly instance: number; readonly residentBytes: number }[];
  /** Set when the pool has given up restarting. */
  readonly failure: string | undefined;
}

/** Asked of an engine taken out for good: the model as it is now has another one, or none, or the gateway ends. */
export class EngineRetiredError extends GatewayError {
  constructor(id: string) {
    super("unavailable", `engine "${id}" was replaced or removed, or the gateway is shutting down`);
  }
}

/** After a pause this long caches and clocks have gone cold. */
const coldAfterSeconds = 1;

/** Shadow instances run at idle priority and never answer clients. */
export type PoolRole = "serving" | "shadow";

export interface EngineOptions {
  readonly folder: EngineFolder & { manifest: EngineManifest };
  readonly openPool: (folder: EngineFolder & { manifest: EngineManifest }, role: PoolRole) => EnginePool;
  /** Called before a pool is started; makes room in the memory budget or throws. */
  readonly admit: (engine: Engine, role: PoolRole) => Promise<void>;
  readonly onChange: (engine: Engine) => void;
  readonly onColdStart: (engine: Engine, seconds: number) => void;
  readonly clock: Clock;
}

/** One engine of one model through its life: load, warm, serve, drain, unload. */
export class Engine implements Runner {
  readonly id: string;
  readonly folder: EngineFolder & { manifest: EngineManifest };
  /** It was active and rolled back; a person alone brings it back. */
  rolledBack = false;
  #options: EngineOptions;
  #pools: Record<PoolRole, EnginePool | undefined> = { serving: undefined, shadow: undefined };
  #starting: Record<PoolRole, Promise<void> | undefined> = { serving: undefined, shadow: undefined };
  /** Pools that are being started, so that unloading need not wait for a slow start. */
  #opening: Record<PoolRole, EnginePool | undefined> = { serving: undefined, shadow: undefined };
  #info: EngineInfo | undefined;
  #reason: string | undefined;
  #quarantine: string | undefined;
  #inFlight = 0;
  #lastUsedSeconds: number;
  #lastResidentBytes = 0;
  #drained: (() => void)[] = [];
  #retired = false;

  constructor(options: EngineOptions) {
    this.id = options.folder.id;
    this.folder = options.folder;
    this.#options = options;
    this.#lastUsedSeconds = options.clock.seconds();
  }

  get manifest(): EngineManifest {
    return this.folder.manifest;
  }

  /** Inputs and outputs; known once the engine was loaded, and kept when it is unloaded. */
  get info(): EngineInfo | undefined {
    return this.#info;
  }

  get state(): EngineState {
    if (this.#quarantine !== undefined) return "quarantined";
    // One that answers clients is ready, whatever its shadow instance is doing.
    if (this.serving) return "ready";
    if (this.#starting.serving || this.#starting.shadow) return "loading";
    if (this.failure !== undefined) return "failed";
    return this.#pools.serving || this.#pools.shadow ? "ready" : "unloaded";
  }

  get reason(): string | null {
    return this.#quarantine ?? this.failure ?? null;
  }

  get failure(): string | undefined {
    return this.#pools.serving?.failure ?? this.#pools.shadow?.failure ?? this.#reason;
  }

  /** A serving instance is loaded, warm and able to answer. */
  get serving(): boolean {
    const pool = this.#pools.serving;
    return pool !== undefined && this.#starting.serving === undefined && pool.failure === undefined;
  }

  /** Serving instances that can take a request at once. */
  get healthy(): number {
    return this.serving ? (this.#pools.serving?.healthy ?? 0) : 0;
  }

  get pending(): number {
    return this.#pools.serving?.pending ?? 0;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get lastUsedSeconds(): number {
    return this.#lastUsedSeconds;
  }

  /** Taken out for good: by a reload, with its model, or with the gateway. */
  get retired(): boolean {
    return this.#retired;
  }

  get quarantined(): boolean {
    return this.#quarantine !== undefined;
  }

  /** It may answer clients in the active engine's place, unasked. */
  get canTakeOver(): boolean {
    return !this.quarantined && !this.rolledBack;
  }

  quarantine(reason: string | undefined): void {
    this.#quarantine = reason;
    this.#options.onChange(this);
  }

  residentBytes(role?: PoolRole): number {
    const of = (pool: EnginePool | undefined) => pool?.residentBytes() ?? 0;
    const bytes = role ? of(this.#pools[role]) : of(this.#pools.serving) + of(this.#pools.shadow);
    if (bytes > 0 && role !== "shadow") this.#lastResidentBytes = bytes;
    return bytes;
  }

  /** What loading it will take: what it took the last time, or undefined. */
  get knownResidentBytes(): number | undefined {
    return this.#lastResidentBytes || undefined;
  }

  /**
   * Starts and warms the serving instances; at once when they are there.
   * @throws GatewayError `conflict` with the reason; EngineRetiredError
   */
  load(): Promise<void> {
    return this.serving ? Promise.resolve() : this.#start("serving");
  }

  /** Loads it and, where it has been idle, has it run a few times: it is about to be given live requests. */
  async ready(): Promise<void> {
    if (!this.serving) return this.load();
    const idle = this.#options.clock.seconds() - this.#lastUsedSeconds > coldAfterSeconds;
    const pool = this.#pools.serving;
    if (idle && pool && this.#info) await prime(pool, this.#info);
  }

  /** The shadow instance, started when needed. @throws GatewayError `conflict` when it cannot be, or must not. */
  async shadow(): Promise<Runner> {
    if (!this.#pools.shadow || this.#pools.shadow.failure !== undefined) await this.#start("shadow");
    const pool = this.#pools.shadow;
    if (!pool)
      throw new GatewayError("conflict", `engine "${this.id}" was unloaded while its shadow started`);
    return pool;
  }

  /** It holds memory in some role. */
  get resident(): boolean {
    return this.#pools.serving !== undefined || this.#pools.shadow !== undefined;
  }

  /** It answers a client, or is being loaded in order to. */
  get busy(): boolean {
    return this.#inFlight > 0 || this.#starting.serving !== undefined;
  }

  get shadowLoaded(): boolean {
    return this.#pools.shadow !== undefined && this.#starting.shadow === undefined;
  }

  /** The host processes that live now. */
  get processes(): readonly {
    readonly role: PoolRole;
    readonly instance: number;
    readonly residentBytes: number;
  }[] {
    return (["serving", "shadow"] as const).flatMap((role) =>
      (this.#pools[role]?.processes ?? []).map(({ instance, residentBytes }) => ({
        role,
        instance,
        residentBytes,
      })),
    );
  }

  async infer(request: EngineRequest): Promise<EngineResult> {
    const pool = this.#pools.serving;
    if (!pool && this.#retired) throw new EngineRetiredError(this.id);
    if (!pool) throw new GatewayError("unavailable", `engine "${this.id}" is not loaded`);
    this.#inFlight++;
    this.#lastUsedSeconds = this.#options.clock.seconds();
    try {
      return await pool.infer(request);
    } finally {
      if (--this.#inFlight === 0) for (const done of this.#drained.splice(0)) done();
    }
  }

  /** Takes the engine out after what it is working on has been answered. */
  async unload(role?: PoolRole): Promise<void> {
    if (role !== "shadow") await this.#stop("serving", true);
    if (role !== "serving") await this.#stop("shadow", false);
    this.#reason = undefined;
    this.#options.onChange(this);
  }

  /** The same for good: whoever still holds the engine (a request, a check) must not start what nobody would close. */
  async retire(): Promise<void> {
    this.#retired = true;
    await this.unload();
  }

  async #stop(role: PoolRole, drain: boolean): Promise<void> {
    await this.#opening[role]?.close();
    await this.#starting[role]?.catch(() => undefined);
    const pool = this.#pools[role];
    // The last reading tells what loading it again will take.
    this.residentBytes(role);
    this.#pools[role] = undefined;
    if (drain && this.#inFlight > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
    await pool?.close();
  }

  #start(role: PoolRole): Promise<void> {
    if (this.#retired) return Promise.reject(new EngineRetiredError(this.id));
    const underWay = this.#starting[role];
    if (underWay) return underWay;
    const starting = this.#open(role).finally(() => {
      this.#starting[role] = undefined;
      this.#options.onChange(this);
    });
    this.#starting[role] = starting;
    // Not before: it is loading now.
    this.#options.onChange(this);
    return starting;
  }

  async #open(role: PoolRole): Promise<void> {
    const { openPool, admit, clock, onColdStart } = this.#options;
    let pool: EnginePool | undefined;
    try {
      // A pool that gave up is closed and made anew: loading again is how a person retries a failed engine.
      await this.#pools[role]?.close();
      this.#pools[role] = undefined;
      await admit(this, role);
      if (this.#retired) throw new EngineRetiredError(this.id);
      const started = clock.seconds();
      pool = openPool(this.folder, role);
      this.#opening[role] = pool;
      this.#info = await pool.start();
      const loadedSeconds = clock.seconds() - started;
      const { firstSeconds } = await warmUp(pool, this.#info, clock);
      if (role === "serving") {
        this.#lastUsedSeconds = clock.seconds();
        onColdStart(this, loadedSeconds + firstSeconds);
      }
      this.#pools[role] = pool;
      this.#reason = undefined;
    } catch (error) {
      await pool?.close();
      if (this.#retired) throw new EngineRetiredError(this.id);
      const reason = error instanceof Error ? error.message : String(error);
      if (role === "serving" || !this.#pools.serving) this.#reason = reason;
      throw new GatewayError(
        error instanceof GatewayError && error.code === "unavailable" ? "unavailable" : "conflict",
        `engine "${this.id}" of model "${this.manifest.model}" cannot be loaded: ${reason}`,
        { cause: error },
      );
    } finally {
      this.#opening[role] = undefined;
    }
  }
}
