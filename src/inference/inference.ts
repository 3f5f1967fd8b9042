import { Cancellation } from "../core/cancellation.ts";
import type { Clock } from "../core/clock.ts";
import { HostLostError, type EngineInfo, type EngineResult } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import { LiveLoadCounter } from "../core/live-load.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import { EngineRetiredError, type Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Models } from "../models/models.ts";
import { Admission } from "./admission.ts";
import { RefusedInputs } from "./refused-inputs.ts";
import { startTimeLimit } from "./time-limit.ts";

/** A decoded request for one model. */
export interface InferenceRequest {
  readonly id: string;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly string[] | undefined;
  /** An engine that must answer, whoever is active. */
  readonly pinnedEngine: string | undefined;
  /** Hard limit of the request itself; the model's applies as well. */
  readonly timeoutMs: number | undefined;
  /** Cancelled when the client goes away, and here when the time is up. */
  readonly cancellation?: Cancellation | undefined;
  /** When the request was received, by the gateway's clock. */
  readonly receivedSeconds: number;
  /** W3C traceparent of the request's span, for linked spans of shadow runs. */
  readonly traceParent?: string | undefined;
}

/** An answered request, as the caller, the statistics and the shadow see it. */
export interface Served extends EngineResult {
  readonly id: string;
  readonly model: Model;
  readonly engine: Engine;
  readonly inputs: readonly Tensor[];
  /** Chosen by the client, so no evidence of how live traffic is served. */
  readonly pinned: boolean;
  /** Answered by a canary that is not (yet) active. */
  readonly canary: boolean;
  readonly receivedSeconds: number;
  /** Receipt, or when the request moved to this engine from one that was lost. */
  readonly askedSeconds: number;
  readonly answeredSeconds: number;
  readonly traceParent: string | undefined;
}

export interface InferenceEvents {
  /** Called after the reply was handed back; it can neither delay nor fail it. */
  readonly onServed: (served: Served) => void;
  /**
   * The engine reported an error on the input, lost its host on it, or had all the time that the model gives and did
   * not answer. Neither this nor the next is told of pinned requests, which are no evidence of live traffic.
   */
  readonly onFailed: (failure: {
    readonly model: Model;
    readonly engine: Engine;
    readonly error: Error;
  }) => void;
  /**
   * The engine gave a request no right answer, even if another engine answered then: it failed, lost its host, kept the
   * request waiting for one beyond the model's deadline, or the time was up, no sooner than the deadline or the model's
   * own limit after the engine was asked. Told once of a request and engine.
   */
  readonly onUnanswered: (unanswered: { readonly model: Model; readonly engine: Engine }) => void;
  readonly onFailover: (failover: {
    readonly model: Model;
    readonly from: Engine;
    readonly to: Engine;
    readonly error: HostLostError;
    /** Of the request that moves. */
    readonly id: string;
  }) => void;
}

export interface InferenceOptions extends InferenceEvents {
  readonly models: Pick<Models, "get" | "wake">;
  readonly limits: { readonly concurrency: number; readonly queue: number };
  /** The canary that takes this request, or undefined for the active engine. */
  readonly chooseCanary: (model: Model) => Engine | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Tries of one request, queueing at lost hosts included; its hard limit usually ends it sooner. */
const mostAttempts = 4;

/** The hot path: resolve, admit, run on the chosen engine, move once if its host is lost. */
export interface Inference {
  /**
   * What requests are decoded against; loads the model when it is not loaded.
   * @throws GatewayError `busy` when the model's queue is full: decoding a request only to turn it away would be most of the work.
   */
  describe(model: string): Promise<{ model: Model; info: EngineInfo }> | { model: Model; info: EngineInfo };
  infer(model: Model, request: InferenceRequest): Promise<Served>;
  waiting(model: string): number;
  /** Live requests, so that shadow work can keep out of their way. */
  readonly load: LiveLoadCounter;
}

export function createInference(options: InferenceOptions): Inference {
  const { models, limits, chooseCanary, onServed, onFailed, onUnanswered, onFailover, clock, log } = options;
  const refused = new RefusedInputs();
  const admissions = new Map<string, Admission>();
  const load = new LiveLoadCounter();

  function admissionOf(model: string): Admission {
    let admission = admissions.get(model);
    if (!admission) admissions.set(model, (admission = new Admission(model, limits)));
    return admission;
  }

  /** Loads what is not loaded, and wakes an idle model, whatever of it a pin has loaded; the usual case costs no promise. */
  function choose(model: Model, pinned: string | undefined): Engine | Promise<Engine> {
    if (pinned !== undefined) {
      const engine = model.engine(pinned);
      return engine.serving ? engine : engine.load().then(() => engine);
    }
    return model.active?.serving && model.state !== "idle" ? model.active : models.wake(model);
  }

  /** Where a request goes whose host was lost: another instance, the standby, else the same engine once it is back. */
  function elsewhere(model: Model, lost: Engine): Engine {
    if (lost.healthy > 0) return lost;
    const { standby, active } = model;
    for (const engine of [standby, active, ...model.engines.values()])
      if (engine && engine !== lost && engine.healthy > 0 && engine.canTakeOver) return engine;
    return lost;
  }

  /** Runs the request; when its host is lost under it, once more elsewhere. Queueing at a lost host is no run. */
  async function run(
    model: Model,
    request: InferenceRequest,
    fromSeconds: number,
    cancellation: Cancellation,
  ) {
    const { inputs, outputs, pinnedEngine } = request;
    const canary = pinnedEngine === undefined ? chooseCanary(model) : undefined;
    const chosen = canary ?? choose(model, pinnedEngine);
    const first = chosen instanceof Promise ? await unlessCancelled(chosen, cancellation) : chosen;
    const move = (from: Engine) => (pinnedEngine === undefined ? elsewhere(model, from) : from);
    // An engine with nothing healthy left would only queue the request; a resident one answers it now.
    let engine = first.healthy === 0 ? move(first) : first;
    let askedSeconds = fromSeconds;
    let lostHosts = 0;
    /** Of this engine, under this request. */
    let lostHere = false;
    const missed: Engine[] = [];
    const miss = (by: Engine) => {
      if (pinnedEngine !== undefined || missed.includes(by)) return;
      missed.push(by);
      onUnanswered({ model, engine: by });
    };
    for (let attempt = 1; ; attempt++) {
      try {
        const result = await engine.infer({ inputs, outputs, cancellation });
        return { engine, askedSeconds, result, canary: engine === canary };
      } catch (error) {
        if (error instanceof EngineRetiredError) throw error;
        if (!(error instanceof HostLostError)) {
          const givenMs = limitMs(model, request) - (askedSeconds - request.receivedSeconds) * 1000;
          if (pinnedEngine === undefined && isEngineFault(error, model, givenMs))
            onFailed({ model, engine, error });
          if (lostHere || isMiss(error, model, givenMs)) miss(engine);
          throw GatewayError.on(engine.id, error);
        }
        if (error.reason !== "unavailable") {
          lostHosts++;
          lostHere = true;
          if (pinnedEngine === undefined) onFailed({ model, engine, error });
        }
        const next = move(engine);
        const gaveUp = engine.failure !== undefined;
        const isOver = lostHosts === 2 || attempt === mostAttempts || (next === engine && gaveUp);
        const isLate = (clock.seconds() - askedSeconds) * 1000 > (model.config.deadlineMs ?? Infinity);
        if ((lostHere || gaveUp || isLate) && (isOver || next !== engine)) miss(engine);
        if (isOver)
          throw GatewayError.on(
            engine.id,
            lostHosts === 2 ? refuse(model, request, error) : away(model, error),
          );
        onFailover({ model, from: engine, to: next, error, id: request.id });
        if (next !== engine) {
          askedSeconds = clock.seconds();
          lostHere = false;
        }
        engine = next;
      }
    }
  }

  function refuse(model: Model, request: InferenceRequest, cause: HostLostError): GatewayError {
    const input = refused.add(model.name, request.inputs);
    log.error(
      { model: model.name, id: request.id, input, err: cause },
      "two hosts were lost on one input; it is refused from now on",
    );
    return new GatewayError(
      "unavailable",
      `two engine hosts of model "${model.name}" were lost on this input; it is refused from now on (input ${input})`,
      { cause },
    );
  }

  async function serve(asked: Model, request: InferenceRequest, cancellation: Cancellation): Promise<Served> {
    const admission = admissionOf(asked.name);
    const entered = clock.seconds();
    const wait = admission.enter(cancellation);
    if (wait) await wait;
    try {
      // While it waited the model may have been reloaded, or unloaded: engines that were replaced must not wake.
      let model = wait ? models.get(asked.name) : asked;
      const admissionSeconds = wait ? clock.seconds() - entered : 0;
      const hash = refused.match(model.name, request.inputs);
      if (hash !== undefined)
        throw new GatewayError(
          "conflict",
          `this input is refused: it was lost with two engine hosts of model "${model.name}" (input ${hash})`,
        );
      for (let fromSeconds = request.receivedSeconds; ;) {
        try {
          const { engine, askedSeconds, result, canary } = await run(
            model,
            request,
            fromSeconds,
            cancellation,
          );
          // Written out, not spread: it is made for every request.
          return {
            outputs: result.outputs,
            engineSeconds: result.engineSeconds,
            deviceSeconds: result.deviceSeconds,
            hostSeconds: result.hostSeconds,
            instance: result.instance,
            queueSeconds: result.queueSeconds + admissionSeconds,
            id: request.id,
            model,
            engine,
            inputs: request.inputs,
            pinned: request.pinnedEngine !== undefined,
            canary,
            receivedSeconds: request.receivedSeconds,
            askedSeconds,
            answeredSeconds: clock.seconds(),
            traceParent: request.traceParent,
          };
        } catch (error) {
          // A reload took the engine away before it could answer: those that are there now do.
          if (!(error instanceof EngineRetiredError)) throw error;
          const now = models.get(model.name);
          // No reload did, the gateway ends.
          if (now === model) throw error;
          model = now;
          fromSeconds = clock.seconds();
        }
      }
    } finally {
      admission.leave();
    }
  }

  /** Nothing that watches may reach the reply, or end the process. */
  function watch(served: Served): void {
    try {
      onServed(served);
    } catch (error) {
      log.error({ model: served.model.name, err: error }, "a served request could not be observed");
    }
  }

  function describe(name: string): ReturnType<Inference["describe"]> {
    const model = models.get(name);
    admissionOf(name).check();
    const { info } = model;
    if (info) return { model, info };
    return models.wake(model).then(
      (engine) => {
        if (!engine.info)
          throw new GatewayError("unavailable", `engine "${engine.id}" did not tell its inputs`);
        return { model, info: engine.info };
      },
      (error: unknown) => {
        if (error instanceof EngineRetiredError && models.get(name) !== model) return describe(name);
        throw error;
      },
    );
  }

  return {
    describe,
    async infer(model, request) {
      const { cancellation = new Cancellation() } = request;
      const endTimeLimit = startTimeLimit(cancellation, limitMs(model, request));
      load.begin();
      try {
        const served = await serve(model, request, cancellation);
        // The reply is written in this turn; whoever watches comes in the next.
        setImmediate(watch, served);
        return served;
      } catch (thrown) {
        const error = GatewayError.from(thrown);
        if (error.code === "internal")
          log.error({ model: model.name, id: request.id, err: error.cause ?? error }, "inference failed");
        throw error;
      } finally {
        load.end();
        endTimeLimit();
      }
    },
    waiting: (name) => admissions.get(name)?.waiting ?? 0,
    load,
  };
}

function away(model: Model, cause: HostLostError): GatewayError {
  return new GatewayError("unavailable", `model "${model.name}": ${cause.message}`, { cause });
}

function limitMs({ config }: Model, { timeoutMs = Infinity }: InferenceRequest): number {
  return Math.min(timeoutMs, config.timeoutMs);
}

/** A time-out speaks against the engine only if it had all of the model's limit: a client may ask for the impossible. */
function isEngineFault(error: unknown, { config }: Model, givenMs: number): error is GatewayError {
  if (!(error instanceof GatewayError)) return false;
  return error.code === "engineFailed" || (error.code === "timeout" && givenMs >= config.timeoutMs);
}

/** There is no answer, and not because the engine was given less time than deadline and model give. */
function isMiss(error: unknown, { config }: Model, givenMs: number): boolean {
  if (!(error instanceof GatewayError)) return false;
  if (error.code === "engineFailed") return true;
  return error.code === "timeout" && givenMs >= Math.min(config.timeoutMs, config.deadlineMs ?? Infinity);
}

/** The promise, or the cancellation's reason if that comes first (a cold start goes on without its client). */
function unlessCancelled<T>(promise: Promise<T>, cancellation: Cancellation): Promise<T> {
  return new Promise((resolve, reject) => {
    cancellation.onCancel(reject);
    promise.then(resolve, reject).finally(() => cancellation.removeListener(reject));
  });
}
