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

/** Why a served input was not shadowed; a metric label, so the set is closed. */
export type DropReason = "sampled_out" | "queue_full" | "busy" | "comparer_full" | "stale";

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
/** A shadow instance that did not load is tried again after this time. */
const retrySeconds = 60;

export function createShadow(options: {
  readonly gate: IdleGate;
  readonly load: LiveLoad;
  readonly onResult: (result: ShadowResult) => Promise<void> | void;
  /** A model's shadow instance came up; once for each instance. */
  readonly onPrepared: (model: Model, engine: Engine) => Promise<void>;
  readonly onDropped: (model: string, reason: DropReason) => void;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): Shadow {
  const { gate, load, onResult, onPrepared, onDropped, random, clock, log } = options;
  const queue = new FairQueue<{ served: ShadowedRequest; offeredSeconds: number }>();
  const retryAt = new WeakMap<Engine, number>();
  /** The shadow instances that have been told of. */
  const prepared = new WeakMap<Engine, Runner>();
  let working: Promise<void> | undefined;
  const state = { closed: false };
  const closing = new AbortController();

  /** The engine's shadow instance, unless it lately failed to load. */
  async function runnerOf(engine: Engine): Promise<Runner | undefined> {
    if (clock.seconds() < (retryAt.get(engine) ?? -Infinity)) return undefined;
    try {
      return await engine.shadow();
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
  async function runOne(engine: Engine, served: ShadowedRequest): Promise<ShadowRun | "busy" | undefined> {
    const runner = await runnerOf(engine);
    if (!runner) return undefined;
    if (!(await gate.wait(served.model.config.shadow.maxUtilization, patienceSeconds))) return "busy";
    const role = engine === served.model.active ? "control" : "shadow";
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

  /** Whole when every engine that can run has run; a busy moment of the whole device ends the input's turn early. */
  async function runAll(served: ShadowedRequest): Promise<{ runs: ShadowRun[]; whole: boolean }> {
    const engines = shadowedOf(served.model);
    const runs: ShadowRun[] = [];
    for (const engine of shuffled(engines, random)) {
      if (state.closed) return { runs: [], whole: true };
      const run = await runOne(engine, served);
      if (run === "busy") return { runs, whole: false };
      if (run) runs.push(run);
    }
    return { runs, whole: true };
  }

  /** Leaves the machine to live requests for a while: what runs for long, as on a busy machine, comes seldom. */
  async function rest(runs: readonly ShadowRun[]): Promise<void> {
    const spentSeconds = runs.reduce((sum, run) => sum + run.endedSeconds - run.startedSeconds, 0);
    const restSeconds = Math.min(patienceSeconds, spentSeconds * (1 / mostDuty - 1));
    await delay(restSeconds * 1000, closing.signal).catch(() => {});
  }

  async function work(): Promise<void> {
    for (let job = queue.shift(); job && !state.closed; job = queue.shift()) {
      const { served, offeredSeconds } = job;
      const model = served.model.name;
      // A model that has gone idle meanwhile, or was replaced, must not be woken by its shadow.
      if (clock.seconds() - offeredSeconds > patienceSeconds || served.model.state !== "ready") {
        onDropped(model, "stale");
        continue;
      }
      try {
        const { runs, whole } = await runAll(served);
        if (!whole) onDropped(model, "busy");
        if (runs.length > 1) await onResult({ served, runs });
        await rest(runs);
      } catch (error) {
        log.error({ model, id: served.id, err: error }, "a shadow run failed");
      }
    }
  }

  return {
    offer(served) {
      const { model, pinned } = served;
      const { sampleRate, maxQueue } = model.config.shadow;
      if (state.closed || pinned || sampleRate === 0 || model.candidates.length === 0) return;
      if (random() >= sampleRate) return onDropped(model.name, "sampled_out");
      if (!queue.push(model.name, { served, offeredSeconds: clock.seconds() }, maxQueue))
        return onDropped(model.name, "queue_full");
      working ??= work().finally(() => (working = undefined));
    },
    prepare(model) {
      if (model.config.shadow.sampleRate === 0 || model.candidates.length === 0) return;
      void (async () => {
        for (const engine of shadowedOf(model)) {
          if (state.closed || model.state !== "ready") return;
          const runner = await runnerOf(engine);
          if (!runner || prepared.get(engine) === runner) continue;
          prepared.set(engine, runner);
          await onPrepared(model, engine);
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

/** All but those in quarantine; the reference even then, since the others are measured by it. */
function shadowedOf({ active, candidates, reference }: Model): Engine[] {
  const engines = active ? [active, ...candidates] : candidates;
  return engines.filter((engine) => !engine.quarantined || engine === reference);
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
