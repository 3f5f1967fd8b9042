import type { DecisionLog } from "../audit/log/decision-log.ts";
import type { Decision, LogEntry } from "../audit/log/entry.ts";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { createSlices, type Slices } from "../core/slices.ts";
import type { Turns } from "../core/turns.ts";
import { EngineRetiredError, type Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Models } from "../models/models.ts";
import type { Store } from "../store/store.ts";
import { carryOut } from "./carry-out.ts";
import { createChanges, type Grounds, type SwitchResult } from "./changes.ts";
import { decide, takingOut, type CandidateState, type EngineEvidence, type RuleVerdict } from "./decide.ts";
import { createMemory } from "./memory.ts";
import { wasLeft, whyTakenOut } from "./model-state.ts";
import { candidacy, createTracks, notStuck, type ModelTrack } from "./tracks.ts";

/** Where the controller gets its evidence. */
export interface EvidenceSource {
  /** Verdicts on one engine of a model, the active one included: at once, and with pauses for live requests. */
  verdicts(model: Model, engine: Engine): readonly RuleVerdict[];
  judge(model: Model, engine: Engine, slices: Slices): Promise<readonly RuleVerdict[]>;
  /** As they were a moment ago, for nothing: what a person decides does not depend on them. */
  lastVerdicts(model: Model, engine: Engine): readonly RuleVerdict[];
  /** Begins the evidence on an engine anew: a person has lifted its quarantine. */
  restart(model: Model, engine: Engine): void;
}

export interface Controller {
  /** Puts what is stored on a model's engines in force; names the one that the last switch made active, if any. */
  recall(model: Model): Promise<string | undefined>;
  /** Called when a model can be asked, ready or idle: standby, canary and states are those of its present engines. */
  adopt(model: Model): void;
  /** @throws GatewayError `notFound`, `conflict` when it cannot be loaded or logged; then nothing has changed. */
  switch(model: string, engine: string, reason: string, actor: string): Promise<SwitchResult>;
  rollback(model: string, reason: string, actor: string): Promise<SwitchResult>;
  /**
   * Takes an engine out by a self-check. An active one is rolled back first, if anything else can serve; unless the
   * policy is automatic and no person's switch is held, that is advised only, and in a dry run so is everything.
   */
  quarantine(model: Model, engine: Engine, reason: string, grounds: Grounds): Promise<void>;
  /** Writes something into the log that changed nothing (a fallback, an engine that failed). */
  note(model: Model, decision: Omit<Decision, "model">): Promise<void>;
  /** The canary that takes this live request, or undefined. */
  chooseCanary(model: Model): Engine | undefined;
  /** Counts a live request that a canary answered. */
  canaryServed(model: Model, engine: Engine): void;
  stateOf(model: string, engine: string): CandidateState;
  /** Who answers clients: the active engine, and the canary while it has a share. */
  roleOf(model: Model, engine: Engine): "active" | "canary" | "candidate";
  /** Share of live traffic of each engine that has some. */
  shares(model: Model): ReadonlyMap<string, number>;
  /** One look at every model; the interval calls it, tests too. */
  check(): Promise<void>;
  close(): Promise<void>;
}

const checkMs = 500;

export function createController(options: {
  readonly models: Pick<Models, "get" | "find" | "list" | "wake">;
  readonly decisions: DecisionLog;
  readonly store: Store;
  /** Prefix of this repository's keys in the store. */
  readonly keyPrefix: string;
  readonly repository: string;
  readonly evidence: EvidenceSource;
  /** Decisions on one model are made one after another, and not while it is being loaded or unloaded. */
  readonly turns: Turns;
  readonly onSwitched: (model: Model, decision: LogEntry) => void;
  readonly onChanged: (model: Model) => void;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): Controller {
  const { models, evidence, turns, onChanged, random, clock, log } = options;
  const tracks = createTracks({ clock });
  const memory = createMemory({ ...options, tracks });
  const onLifted = (model: Model, engine: Engine) => evidence.restart(model, engine);
  const changes = createChanges({ ...options, tracks, memory, onLifted });
  const pending = new Set<Promise<unknown>>();
  /** Models whose next look has been asked for. */
  const awaited = new Set<string>();

  function inTurn<T>(model: string, work: () => Promise<T>): Promise<T> {
    const mine = turns.take(model, work);
    const settled = mine.catch(() => undefined).then(() => void pending.delete(settled));
    pending.add(settled);
    return mine;
  }

  async function evidenceOf(model: Model, engine: Engine, slices: Slices): Promise<EngineEvidence> {
    const verdicts = await evidence.judge(model, engine, slices);
    const track = tracks.engine(model.name, engine.id);
    const needed = engine !== model.active && (engine === model.reference || engine === model.standby);
    const passes = verdicts.every(({ verdict }) => verdict === "pass");
    const open = verdicts.some(({ verdict }) => verdict === "inconclusive");
    const fails = verdicts.some(({ verdict }) => verdict === "fail");
    const failed = takingOut({ verdicts, needed }).length > 0;
    track.failures = failed ? track.failures + 1 : 0;
    // A canary that is given no more live requests would wait for its samples for ever.
    const starved =
      track.state === "canary" &&
      track.canarySamples < model.config.policy.minSamples &&
      track.canarySamples === track.canarySeen;
    track.canarySeen = track.canarySamples;
    track.inconclusives = !fails && (open || starved) ? track.inconclusives + 1 : 0;
    if (!failed) Object.assign(track, notStuck);
    if (!failed && takesOut.has(track.advised)) track.advised = "";
    if (track.state === "eligible" && !passes) tracks.enter(model.name, engine.id, "observing");
    const left = wasLeft(tracks.model(model.name).saved, engine);
    return { ...track, id: engine.id, verdicts, needed, left };
  }

  async function checkModel(model: Model): Promise<void> {
    const { active } = model;
    const { policy } = model.config;
    const track = tracks.model(model.name);
    const nowSeconds = clock.seconds();
    if (!active || policy.mode === "off" || model.state !== "ready" || nowSeconds < track.nextCheckSeconds)
      return;
    track.nextCheckSeconds = nowSeconds + policy.interval;
    await tendCanary(model);
    const { pausedUntilSeconds, heldUntilSeconds, switchSeconds } = track;
    const slices = createSlices();
    const activeEvidence = await evidenceOf(model, active, slices);
    const candidates: EngineEvidence[] = [];
    for (const engine of model.candidates) {
      if (slices.due()) await slices.pause();
      candidates.push(await evidenceOf(model, engine, slices));
    }
    const action = decide({
      nowSeconds,
      policy,
      active: activeEvidence,
      candidates,
      hasReference: model.reference !== undefined,
      fallback: changes.fallbacks(model)[0]?.id,
      pausedUntilSeconds,
      heldUntilSeconds,
      switchSeconds,
    });
    if (await carryOut(model, action, [activeEvidence, ...candidates], { changes, tracks })) onChanged(model);
  }

  /**
   * A canary that was unloaded meanwhile is loaded again; one that cannot serve is none any longer.
   * @throws EngineRetiredError when the gateway ends, which says nothing about the canary
   */
  async function tendCanary(model: Model): Promise<void> {
    const engine = tracks.model(model.name).canary?.engine;
    if (!engine || engine.serving) return;
    const why =
      engine.failure ??
      (await engine.ready().then(
        () => undefined,
        (error: Error) => {
          if (error instanceof EngineRetiredError) throw error;
          return error.message;
        },
      ));
    if (why === undefined) return;
    const reason = `the canary cannot serve: ${why}`;
    await changes.hold(model, engine, { ...asked, trigger: "health", reason });
  }

  async function quarantine(model: Model, engine: Engine, reason: string, grounds: Grounds): Promise<void> {
    const { mode, dryRun } = model.config.policy;
    const isActive = engine === model.active;
    const held = clock.seconds() < tracks.model(model.name).heldUntilSeconds;
    const whole = { ...grounds, verdicts: evidence.verdicts(model, engine) };
    if (!dryRun && (!isActive || (mode === "automatic" && !held)))
      return changes.takeOut(model, engine, reason, whole);
    const to = isActive ? (changes.fallbacks(model)[0]?.id ?? null) : null;
    const details = { ...grounds.details, wouldDo: isActive ? "rollBack" : "quarantine" };
    const advice = { from: engine.id, to, actor: "policy", reason, ...whole, details };
    await changes.note(model, { type: "advice", ...advice });
  }

  function servingCanary(model: Model): ModelTrack["canary"] {
    const canary = tracks.peek(model.name)?.canary;
    return canary?.engine.serving && !canary.engine.quarantined ? canary : undefined;
  }

  async function checkInTurn({ name }: Model): Promise<void> {
    if (awaited.has(name)) return;
    awaited.add(name);
    try {
      await inTurn(name, async () => {
        const model = models.find(name);
        if (model) await checkModel(model);
      });
    } catch (error) {
      // Where the gateway ends nothing failed: what was being decided is not decided any more.
      if (!(error instanceof EngineRetiredError))
        log.error({ model: name, err: error }, "a switching decision failed; nothing was changed");
    } finally {
      awaited.delete(name);
    }
  }

  async function check(): Promise<void> {
    await Promise.all(models.list().map(checkInTurn));
  }

  const timer = setInterval(() => void check(), checkMs);
  timer.unref();

  return {
    async recall(model) {
      await memory.restore(model);
      const { saved } = tracks.model(model.name);
      for (const engine of model.engines.values()) {
        const quarantined = whyTakenOut(saved.quarantined, engine);
        if (quarantined !== undefined && !engine.quarantined) engine.quarantine(quarantined);
        engine.rolledBack = whyTakenOut(saved.rolledBack, engine) !== undefined;
      }
      return saved.active ?? undefined;
    },
    adopt(model) {
      const { active, engines } = model;
      const { saved, canary } = tracks.model(model.name);
      const standby = saved.standby === null ? undefined : engines.get(saved.standby);
      if (standby !== active && standby?.canTakeOver) model.standby ??= standby;
      const why = canary && whyNoCanary(model, canary.engine);
      // Traffic first: the files no longer allow it any.
      if (why !== undefined) changes.endCanary(model);
      for (const engine of engines.values()) {
        tracks.know(model.name, engine);
        const { state } = tracks.engine(model.name, engine.id);
        const now = stateNow(engine, { state, isActive: engine === active });
        if (now !== state) tracks.enter(model.name, engine.id, now);
      }
      if (!canary || why === undefined) return;
      const { id } = canary.engine;
      const states = { [id]: { from: "canary", to: tracks.engine(model.name, id).state } };
      changes
        .note(model, { type: "hold", from: id, to: null, ...asked, reason: why, states })
        .catch((error: unknown) =>
          log.error({ model: model.name, err: error }, "a hold could not be logged"),
        );
    },
    async switch(name, id, reason, actor) {
      // Nobody waits in line to hear that there is no such engine.
      models.get(name).engine(id);
      return inTurn(name, () => {
        const model = models.get(name);
        const engine = model.engine(id);
        const verdicts = evidence.lastVerdicts(model, engine);
        const why = { trigger: "manual", actor, reason, verdicts } as const;
        return changes.moveTo(model, engine, { type: "switch", ...why });
      });
    },
    async rollback(name, reason, actor) {
      models.get(name);
      return inTurn(name, () => {
        const model = models.get(name);
        const [to] = changes.fallbacks(model);
        if (!to)
          throw new GatewayError(
            "conflict",
            `model "${name}" has no engine to roll back to: none that may take over was active before "${model.active?.id}"; switch to one by name`,
          );
        // As with every roll-back, what is known of the engine that is left.
        const verdicts = model.active ? evidence.lastVerdicts(model, model.active) : [];
        return changes.moveTo(model, to, { type: "rollback", trigger: "manual", actor, reason, verdicts });
      });
    },
    quarantine: ({ name }, engine, reason, grounds) =>
      inTurn(name, async () => {
        const model = models.find(name);
        // An engine that was replaced meanwhile has taken its faults along.
        if (model?.engines.get(engine.id) === engine) await quarantine(model, engine, reason, grounds);
      }),
    async note(model, decision) {
      await changes.note(model, decision);
    },
    chooseCanary(model) {
      const canary = servingCanary(model);
      return canary && random() < canary.share ? canary.engine : undefined;
    },
    canaryServed(model, engine) {
      tracks.engine(model.name, engine.id).canarySamples++;
    },
    stateOf: (model, engine) => tracks.peek(model)?.engines.get(engine)?.state ?? "observing",
    roleOf(model, engine) {
      if (engine === model.active) return "active";
      return tracks.peek(model.name)?.canary?.engine === engine ? "canary" : "candidate";
    },
    shares(model) {
      const canary = servingCanary(model);
      const shares = new Map<string, number>();
      if (model.active) shares.set(model.active.id, 1 - (canary?.share ?? 0));
      if (canary) shares.set(canary.engine.id, canary.share);
      return shares;
    },
    check,
    async close() {
      clearInterval(timer);
      await Promise.all(pending);
      await memory.close();
    },
  };
}

/** Advice that a verdict takes back when it no longer fails. */
const takesOut: ReadonlySet<string> = new Set(["quarantine", "rollBack"]);

const asked = { trigger: "policy", actor: "policy" } as const;

/** States of an engine that a decision has made active. */
const inForce: ReadonlySet<CandidateState> = new Set(["promoted", "watch", "settled"]);

/** What state an engine is in where its files, and not a decision, may have changed who is active and what is quarantined. */
function stateNow(
  engine: Engine,
  { state, isActive }: { readonly state: CandidateState; readonly isActive: boolean },
): CandidateState {
  if (engine.quarantined) return "quarantined";
  if (engine.rolledBack) return "rolledBack";
  if (isActive) return inForce.has(state) ? state : "settled";
  // What is under the name of one taken out is another artifact now.
  return candidacy.has(state) ? state : "observing";
}

/** Why a model as its files are now has no such canary; undefined when it may. */
function whyNoCanary(model: Model, engine: Engine): string | undefined {
  const { mode, dryRun } = model.config.policy;
  if (mode !== "automatic") return `canary ended: policy mode is ${mode}`;
  if (dryRun) return "canary ended: the policy is a dry run";
  if (!model.reference) return "canary ended: the model has no reference engine any longer";
  if (model.engines.get(engine.id) !== engine) return "canary ended: its files have changed";
  if (engine === model.active) return "canary ended: it is active, since no engine before it could be loaded";
  if (!model.candidates.includes(engine)) return "canary ended: it is no candidate any longer";
  return undefined;
}
