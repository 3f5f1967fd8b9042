import type { Clock } from "../core/clock.ts";
import { HostLostError, type Runner } from "../core/engine.ts";
import type { LiveLoad } from "../core/live-load.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import { delay } from "../hosting/delay.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import { FairQueue } from "./fair-queue.ts";
import type { IdleGate } from "./idle-gate.ts";
import { SpareMemory } from "./spare-memory.ts";

/**
 * Why a served input was not shadowed, or not by all; a metric label, so the set is closed. engines_away: fewer than two
 * engines could run. no_reference: there were runs, but nothing to compare them with. failed: what came of the runs was
 * lost, as by a comparison that failed.
 */
export type DropReason =
  | "sampled_out"
  | "queue_full"
  | "busy"
  | "stale"
  | "engines_away"
  | "no_reference"
  | "failed";

/** A request that was answered, as far as its shadow needs it. */
export interface ShadowedRequest {
  readonly id: string;
  readonly model: Model;
  readonly engine: Engine;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Chosen by the client, so not shadowed. */
  readonly pinned: boolean;
  readonly traceParent: string | undefined;
}

/** One run of one engine on a served input. */
export interface ShadowRun {
  readonly engine: Engine;
  readonly role: "control" | "shadow";
  /** Undefined when the run failed. */
  readonly outputs: readonly Tensor[] | undefined;
  readonly startedSeconds: number;
  readonly endedSeconds: number;
  readonly engineSeconds: number;
  /** A live request was answered meanwhile: the outputs count, the time does not. */
  readonly overlapped: boolean;
  readonly error: Error | undefined;
}

/** All runs on one served input, in the random order they ran in. */
export interface ShadowResult {
  readonly served: ShadowedRequest;
  readonly runs: readonly ShadowRun[];
}

export interface Shadow {
  /** Takes a served request, or drops it; never waits. */
  offer(served: ShadowedRequest): void;
  /** Starts the shadow instances of a model's engines before they are needed. */
  prepare(model: Model): void;
  readonly length: number;
  close(): Promise<void>;
}

/** An input waits at most this long for an idle moment. */
const patienceSeconds = 5;
/** Share of the time that shadow runs may take: waking hosts and comparing cost live requests even when they are idle-class. */
const mostDuty = 0.6;
/** What waits for an idle moment holds its tensors, of all models together: room for 64 inputs of a large picture each. */
const mostWaitingBytes = 256 * 1024 * 1024;
/** Of memory for what waits that is kept while nothing does. */
const mostSpareBytes = 32 * 1024 * 1024;
/** A shadow instance that did not load is tried again after this time. */
const retrySeconds = 60;

export function createShadow(options: {
  readonly gate: IdleGate;
  readonly load: LiveLoad;
  readonly onResult: (result: ShadowResult) => Promise<void> | void;
  /** A shadow instance came up, at start or when it was first needed; it is given no input before this has ended. */
  readonly onStarted: (model: Model, engine: Engine) => Promise<void>;
  readonly onDropped: (model: string, reason: DropReason) => void;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): Shadow {
  const { gate, load, onResult, onStarted, onDropped, random, clock, log } = options;
  const queue = new FairQueue<Job>({ mostBytes: mostWaitingBytes });
  const memory = new SpareMemory({ mostBytes: mostSpareBytes });
  const retryAt = new WeakMap<Engine, number>();
  const started = new WeakMap<Runner, Promise<void>>();
  let working: Promise<void> | undefined;
  const state = { closed: false };
  const closing = new AbortController();

  /** The engine's shadow instance, unless it lately failed to load. */
  async function runnerOf(model: Model, engine: Engine): Promise<Runner | undefined> {
    if (clock.seconds() < (retryAt.get(engine) ?? -Infinity)) return undefined;
    try {
      const runner = await engine.shadow();
      let ready = started.get(runner);
      if (!ready) started.set(runner, (ready = onStarted(model, engine)));
      await ready;
      return engine.quarantined && engine !== model.reference ? undefined : runner;
    } catch (error) {
      retryAt.set(engine, clock.seconds() + retrySeconds);
      log.warn(
        { model: engine.manifest.model, engine: engine.id, err: error },
        "shadow instance cannot be loaded",
      );
      return undefined;
    }
  }

  /** Undefined when the engine cannot run now, which says nothing about the others. */
  async function runOne(
    engine: Engine,
    role: ShadowRun["role"],
    served: ShadowedRequest,
  ): Promise<ShadowRun | "busy" | undefined> {
    const runner = await runnerOf(served.model, engine);
    if (!runner) return undefined;
    if (!(await gate.wait(served.model.config.shadow.maxUtilization, patienceSeconds))) return "busy";
    const { begun } = load;
    const startedSeconds = clock.seconds();
    try {
      const { outputs, engineSeconds } = await runner.infer({ inputs: served.inputs });
      const overlapped = load.begun !== begun || load.inFlight > 0;
      const endedSeconds = clock.seconds();
      return {
        engine,
        role,
        outputs,
        startedSeconds,
        endedSeconds,
        engineSeconds,
        overlapped,
        error: undefined,
      };
    } catch (thrown) {
      const error = thrown as Error;
      if (error instanceof HostLostError && error.reason === "unavailable") return undefined;
      const failed = { outputs: undefined, engineSeconds: Number.NaN, overlapped: true, error };
      return { engine, role, startedSeconds, endedSeconds: clock.seconds(), ...failed };
    }
  }

  /** Every engine that can run has run, unless a reason ends the input's turn early: the device is busy, the model gone. */
  async function runAll(served: ShadowedRequest): Promise<{ runs: ShadowRun[]; ended?: DropReason }> {
    const { active, shadowed, reference } = served.model;
    const runs: ShadowRun[] = [];
    for (const engine of shuffled(shadowed, random)) {
      if (state.closed) return { runs: [] };
      // In the same turn as the start of its shadow instance: nobody would end one that is started later.
      if (served.model.state !== "ready") return { runs: [], ended: "stale" };
      // A switch in the middle leaves the control what it was when the runs began.
      const run = await runOne(engine, engine === active ? "control" : "shadow", served);
      if (run === "busy") return { runs, ended: "busy" };
      if (run) runs.push(run);
    }
    // What comes of a model that is gone would bring back what was forgotten about it.
    if (served.model.state !== "ready") return { runs: [], ended: "stale" };
    if (runs.length < 2) return { runs, ended: "engines_away" };
    if (reference && !runs.some(({ engine, outputs }) => engine === reference && outputs))
      return { runs, ended: "no_reference" };
    return { runs };
  }

  /** Leaves the machine to live requests for a while: what runs for long, as on a busy machine, comes seldom. */
  async function rest(runs: readonly ShadowRun[]): Promise<void> {
    const spentSeconds = runs.reduce((sum, run) => sum + run.endedSeconds - run.startedSeconds, 0);
    const restSeconds = Math.min(patienceSeconds, spentSeconds * (1 / mostDuty - 1));
    await delay(restSeconds * 1000, closing.signal).catch(() => {});
  }

  /** A model that has gone idle meanwhile, or was replaced, must not be woken by its shadow. */
  function stale({ served, offeredSeconds }: Job): boolean {
    return clock.seconds() - offeredSeconds > patienceSeconds || served.model.state !== "ready";
  }

  function keep(served: ShadowedRequest): Job {
    const { id, model, engine, inputs, outputs, pinned, traceParent } = served;
    const tensors = { inputs: memory.copy(inputs), outputs: memory.copy(outputs) };
    return {
      served: { id, model, engine, ...tensors, pinned, traceParent },
      offeredSeconds: clock.seconds(),
    };
  }

  function giveBack({ served }: Job): void {
    memory.giveBack(served.inputs);
    memory.giveBack(served.outputs);
  }

  function drop(job: Job): void {
    onDropped(job.served.model.name, "stale");
    giveBack(job);
  }

  async function work(): Promise<void> {
    for (let job = queue.shift(); job && !state.closed; job = queue.shift()) {
      const { served } = job;
      const model = served.model.name;
      if (stale(job)) {
        drop(job);
        continue;
      }
      try {
        const { runs, ended } = await runAll(served);
        if (ended) onDropped(model, ended);
        // One run alone says something too: it failed, or it differs from the reply of the same engine.
        if (runs.length > 0) await onResult({ served, runs });
        await rest(runs);
      } catch (error) {
        // Whoever ends the gateway ends hosts and comparisons under it.
        if (state.closed) return;
        onDropped(model, "failed");
        log.error({ model, id: served.id, err: error }, "a shadow run failed");
      }
      giveBack(job);
    }
  }

  return {
    offer(served) {
      const { model, pinned } = served;
      const { sampleRate, maxQueue } = model.config.shadow;
      if (state.closed || pinned || !model.isShadowed) return;
      if (random() >= sampleRate) return onDropped(model.name, "sampled_out");
      // A long run may be under way: what will not be run any more gives its place and its memory to this one.
      for (const job of queue.shed(stale)) drop(job);
      if (!queue.push(model.name, () => keep(served), { most: maxQueue, bytes: bytesOf(served) }))
        return onDropped(model.name, "queue_full");
      working ??= work().finally(() => (working = undefined));
    },
    prepare(model) {
      void (async () => {
        for (const engine of model.shadowed) {
          if (state.closed || model.state !== "ready") return;
          await runnerOf(model, engine);
        }
      })();
    },
    get length() {
      return queue.length;
    },
    async close() {
      state.closed = true;
      closing.abort();
      gate.close();
      queue.clear();
      await working;
    },
  };
}

interface Job {
  readonly served: ShadowedRequest;
  readonly offeredSeconds: number;
}

function bytesOf({ inputs, outputs }: ShadowedRequest): number {
  let bytes = 0;
  for (const { data } of inputs) bytes += data.byteLength;
  for (const { data } of outputs) bytes += data.byteLength;
  return bytes;
}

/** Fisher and Yates. Random order per input is what makes the paired test valid without independence. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}
