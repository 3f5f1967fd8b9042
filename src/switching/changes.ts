import type { DecisionLog } from "../audit/log/decision-log.ts";
import type { Decision, LogEntry } from "../audit/log/entry.ts";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { EngineRetiredError, type Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Models } from "../models/models.ts";
import type { Memory } from "./memory.ts";
import { leavesFailing } from "./model-state.ts";
import type { Tracks } from "./tracks.ts";

/** Who or what asked for a change, and on which grounds. */
export type Why = Pick<Decision, "trigger" | "actor" | "reason" | "verdicts" | "details">;
/** The grounds of taking an engine out. */
export type Grounds = Pick<Decision, "trigger" | "verdicts" | "details">;

export interface SwitchResult {
  readonly model: string;
  readonly from: string;
  readonly to: string;
  readonly decision: LogEntry;
}

/**
 * The changes themselves. Each does what is slow first, then writes its line into the log, then changes what serves, so
 * that nothing is half made whenever the gateway dies. @throws GatewayError; then nothing has changed.
 */
export interface Changes {
  moveTo(model: Model, engine: Engine, why: Why & Pick<Decision, "type">): Promise<SwitchResult>;
  takeOut(model: Model, engine: Engine, reason: string, grounds: Grounds): Promise<void>;
  beginCanary(model: Model, engine: Engine, step: number, why: Why): Promise<void>;
  /** Takes the canary's share back, with a line in the log; it is observed anew, and none again for a cooldown or, each time, twice as long. */
  hold(model: Model, engine: Engine, why: Why): Promise<void>;
  /** As `hold`, without a line: what ended it is logged by whoever did. */
  endCanary(model: Model): void;
  /** Where a roll-back goes, best first: the last good active engine, the reference. */
  fallbacks(model: Model): Engine[];
  note(model: Model, decision: Omit<Decision, "model">): Promise<LogEntry>;
}

/** A roll-back that nothing could take over from is tried again after this time at the latest. */
const mostRetrySeconds = 600;
/** A canary that was held tells no more each time: what speaks against it may not show in the shadow. */
const mostHeldSeconds = 86_400;

export function createChanges(options: {
  readonly models: Pick<Models, "wake">;
  readonly tracks: Tracks;
  readonly memory: Memory;
  readonly decisions: DecisionLog;
  readonly onSwitched: (model: Model, decision: LogEntry) => void;
  readonly onChanged: (model: Model) => void;
  readonly onLifted: (model: Model, engine: Engine) => void;
  readonly clock: Clock;
  readonly log: Log;
}): Changes {
  const { models, tracks, memory, decisions, onSwitched, onChanged, onLifted, clock, log } = options;

  async function note(model: Model, decision: Omit<Decision, "model">): Promise<LogEntry> {
    const named = [decision.from, decision.to].filter((id) => id !== null);
    const artifacts = Object.fromEntries(
      named.flatMap((id) => {
        const engine = model.engines.get(id);
        return engine ? [[id, engine.manifest.artifact.sha256]] : [];
      }),
    );
    return decisions.append({ ...decision, model: model.name, artifacts });
  }

  async function moveTo(
    model: Model,
    engine: Engine,
    why: Why & Pick<Decision, "type">,
  ): Promise<SwitchResult> {
    const before = model.active ?? engine;
    const from = before.id;
    await makeReady(engine);
    if (engine.quarantined) await lift(model, engine, why);
    const to = why.type === "switch" ? "promoted" : "settled";
    const canary = tracks.model(model.name).canary?.engine;
    const left = why.type === "rollback" ? "rolledBack" : "observing";
    const states = {
      ...(canary && { [canary.id]: { from: "canary", to: "observing" } }),
      ...(before !== engine && { [from]: { from: tracks.engine(model.name, from).state, to: left } }),
      [engine.id]: { from: tracks.engine(model.name, engine.id).state, to },
    };
    const entry = await note(model, { ...why, from, to: engine.id, states });
    if (why.type === "rollback") before.rolledBack = true;
    engine.rolledBack = false;
    const { standby } = model;
    model.activate(engine);
    if (leavesFailing(entry))
      model.standby = standby !== engine && standby?.canTakeOver ? standby : undefined;
    endCanary(model);
    if (before !== engine) {
      tracks.enter(model.name, from, left);
      if (before.rolledBack) release(before, "serving");
    }
    tracks.enter(model.name, engine.id, to);
    memory.record(model, entry);
    onSwitched(model, entry);
    onChanged(model);
    // An idle model has an engine again; should that have been lost just now, its next request wakes it.
    if (model.state === "idle") await models.wake(model).catch(() => undefined);
    return { model: model.name, from, to: engine.id, decision: entry };
  }

  /** The evidence that led to the quarantine is answered by a person: it begins anew, or it would speak again at once. */
  async function lift(model: Model, engine: Engine, { trigger, actor, reason }: Why): Promise<void> {
    const entry = await note(model, {
      type: "unquarantine",
      from: engine.id,
      to: null,
      trigger,
      actor,
      reason,
    });
    engine.quarantine(undefined);
    tracks.enter(model.name, engine.id, "observing");
    memory.record(model, entry);
    onLifted(model, engine);
  }

  function endCanary(model: Model): void {
    const track = tracks.model(model.name);
    const engine = track.canary?.engine;
    track.canary = undefined;
    if (!engine) return;
    if (tracks.engine(model.name, engine.id).state === "canary")
      tracks.enter(model.name, engine.id, "observing");
    if (engine !== model.active && engine !== model.standby) release(engine, "serving");
  }

  async function hold(model: Model, engine: Engine, why: Why): Promise<void> {
    const track = tracks.engine(model.name, engine.id);
    const states = { [engine.id]: { from: track.state, to: "observing" } };
    await note(model, { type: "hold", from: engine.id, to: null, ...why, states });
    endCanary(model);
    const { cooldownSeconds, interval } = model.config.policy;
    const seconds = Math.max(cooldownSeconds, interval) * 2 ** track.holds;
    track.canaryFromSeconds = clock.seconds() + Math.min(mostHeldSeconds, seconds);
    if (seconds < mostHeldSeconds) track.holds += 1;
  }

  /** Frees what no longer serves; what it is working on is answered first, which nobody waits for. */
  function release(engine: Engine, role?: "serving"): void {
    engine.unload(role).catch((error: unknown) => {
      log.error({ engine: engine.id, err: error }, "an engine taken out could not be unloaded");
    });
  }

  function fallbacks(model: Model): Engine[] {
    const engines = [model.standby, model.reference].filter((engine) => engine !== undefined);
    return [...new Set(engines)].filter((engine) => engine !== model.active && engine.canTakeOver);
  }

  /** @returns why nothing could take over, or undefined when something did. */
  async function rollBack(model: Model, reason: string, grounds: Grounds): Promise<string | undefined> {
    let why = "no other engine can serve";
    for (const fallback of fallbacks(model)) {
      try {
        await moveTo(model, fallback, { type: "rollback", actor: "policy", reason, ...grounds });
        return undefined;
      } catch (error) {
        // An engine that does not load leaves the next one; a log that cannot be written leaves none, nor does closing.
        if (fallback.serving || !(error instanceof GatewayError) || error instanceof EngineRetiredError)
          throw error;
        why = error.message;
      }
    }
    return why;
  }

  /** Said once for each cause, and tried again ever more seldom: nothing changes by itself that often. */
  async function stayActive(
    model: Model,
    engine: Engine,
    reason: string,
    stuck: string,
    grounds: Grounds,
  ): Promise<void> {
    const track = tracks.engine(model.name, engine.id);
    track.rollBacksFailed += 1;
    const seconds = model.config.policy.interval * 2 ** track.rollBacksFailed;
    track.nextRollBackSeconds = clock.seconds() + Math.min(mostRetrySeconds, seconds);
    const cause = `${grounds.trigger} ${stuck}`;
    if (track.stuck === cause) return;
    const held = { from: engine.id, to: null, actor: "policy", ...grounds };
    await note(model, { type: "hold", ...held, reason: `${reason}; ${stuck}, so it stays active` });
    track.stuck = cause;
  }

  async function takeOut(model: Model, engine: Engine, reason: string, grounds: Grounds): Promise<void> {
    if (engine.quarantined) return;
    if (engine === model.active) {
      const stuck = await rollBack(model, reason, grounds);
      if (stuck !== undefined) return stayActive(model, engine, reason, stuck, grounds);
    }
    const states = { [engine.id]: { from: tracks.engine(model.name, engine.id).state, to: "quarantined" } };
    const decision = { from: engine.id, to: null, actor: "policy", reason, states, ...grounds };
    const entry = await note(model, { type: "quarantine", ...decision });
    if (tracks.model(model.name).canary?.engine === engine) endCanary(model);
    engine.quarantine(reason);
    tracks.enter(model.name, engine.id, "quarantined");
    memory.record(model, entry);
    onChanged(model);
    // The reference serves nobody now, but what it says in the shadow goes on being the measure of the others.
    release(engine, engine === model.reference ? "serving" : undefined);
  }

  async function beginCanary(model: Model, engine: Engine, step: number, why: Why): Promise<void> {
    await makeReady(engine);
    const percent = model.config.policy.canary.steps[step] ?? 100;
    const states = { [engine.id]: { from: tracks.engine(model.name, engine.id).state, to: "canary" } };
    const from = model.active?.id ?? null;
    const details = { ...why.details, percent };
    await note(model, { type: "canary", from, to: engine.id, ...why, states, details });
    tracks.enter(model.name, engine.id, "canary");
    tracks.engine(model.name, engine.id).canaryStep = step;
    tracks.model(model.name).canary = { engine, share: percent / 100 };
  }

  return { moveTo, takeOut, beginCanary, hold, endCanary, fallbacks, note };
}

/**
 * @throws GatewayError `conflict`: a change that memory is too small for cannot be made, while serving goes on;
 *   EngineRetiredError when it does not, for the gateway ends.
 */
async function makeReady(engine: Engine): Promise<void> {
  try {
    await engine.ready();
  } catch (error) {
    if (error instanceof EngineRetiredError) throw error;
    if (!(error instanceof GatewayError) || error.code !== "unavailable") throw error;
    throw new GatewayError("conflict", error.message, { cause: error });
  }
}
