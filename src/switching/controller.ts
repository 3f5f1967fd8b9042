import type { Decision, LogEntry } from "../audit/log/entry.ts";
import type { DecisionLog } from "../audit/log/decision-log.ts";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Models } from "../models/models.ts";
import type { Store } from "../store/store.ts";

import { decide, type Action, type CandidateState, type EngineEvidence, type RuleVerdict } from "./decide.ts";
import { freshState, restoreState, without, type SavedState } from "./model-state.ts";

/** Where the controller gets its evidence. */
export interface EvidenceSource {
  /** Verdicts on one engine of a model, the active one included. */
  verdicts(model: Model, engine: Engine): readonly RuleVerdict[];
}

export interface SwitchResult {
  readonly model: string;
  readonly from: string;
  readonly to: string;
  readonly decision: LogEntry;
}

export interface Controller {
  /** The engine that the last switch made active, from the store and the log. */
  storedActive(model: string): Promise<string | undefined>;
  /** Puts a model's stored quarantines in force; called when it was loaded. */
  adopt(model: Model): void;
  /** @throws GatewayError `notFound`, `conflict` when it cannot be loaded or logged; then nothing has changed. */
  switch(model: string, engine: string, reason: string, actor: string): Promise<SwitchResult>;
  rollback(model: string, reason: string, actor: string): Promise<SwitchResult>;
  /** Takes an engine out by a self-check or a verdict. An active one is rolled back first, if anything else can serve. */
  quarantine(
    model: Model,
    engine: Engine,
    reason: string,
    details: Pick<Decision, "trigger" | "verdicts" | "details">,
  ): Promise<void>;
  /** Writes something into the log that changed nothing (a fail-over, a fallback). */
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

interface Track {
  state: CandidateState;
  sinceSeconds: number;
  failures: number;
  inconclusives: number;
  canaryStep: number;
  canarySamples: number;
  advised: string;
}

interface ModelTrack {
  readonly engines: Map<string, Track>;
  saved: SavedState;
  nextCheckSeconds: number;
  canary: { engine: Engine; share: number } | undefined;
}

export function createController(options: {
  readonly models: Pick<Models, "get" | "list">;
  readonly decisions: DecisionLog;
  readonly store: Store;
  /** Prefix of this repository's keys in the store. */
  readonly keyPrefix: string;
  readonly repository: string;
  readonly evidence: EvidenceSource;
  readonly onSwitched: (model: Model, decision: LogEntry) => void;
  readonly onChanged: (model: Model) => void;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): Controller {
  const {
    models,
    decisions,
    store,
    keyPrefix,
    repository,
    evidence,
    onSwitched,
    onChanged,
    random,
    clock,
    log,
  } = options;
  const tracks = new Map<string, ModelTrack>();
  const restoring = new Map<string, Promise<SavedState>>();
  const turns = new Map<string, Promise<unknown>>();

  function trackOf(model: string): ModelTrack {
    let track = tracks.get(model);
    if (!track)
      tracks.set(
        model,
        (track = { engines: new Map(), saved: freshState, nextCheckSeconds: 0, canary: undefined }),
      );
    return track;
  }

  function engineTrack(model: string, engine: string): Track {
    const { engines } = trackOf(model);
    let track = engines.get(engine);
    if (!track)
      engines.set(
        engine,
        (track = {
          state: "observing",
          sinceSeconds: clock.seconds(),
          failures: 0,
          inconclusives: 0,
          canaryStep: 0,
          canarySamples: 0,
          advised: "",
        }),
      );
    return track;
  }

  function enter(model: string, engine: string, state: CandidateState): { from: string; to: string } {
    const track = engineTrack(model, engine);
    const from = track.state;
    Object.assign(track, {
      state,
      sinceSeconds: clock.seconds(),
      failures: 0,
      inconclusives: 0,
      canarySamples: 0,
    });
    return { from, to: state };
  }

  /** Decisions on one model are made one after another. */
  function inTurn<T>(model: string, work: () => Promise<T>): Promise<T> {
    const mine = (turns.get(model) ?? Promise.resolve()).then(work);
    turns.set(
      model,
      mine.catch(() => undefined),
    );
    return mine;
  }

  function restore(model: string): Promise<SavedState> {
    let restored = restoring.get(model);
    if (!restored) {
      const entries = decisions
        .tail(Infinity)
        .filter((entry) => entry.model === model && entry.repository === repository);
      restored = restoreState(store, keyPrefix + model, entries).catch((error: unknown) => {
        log.error({ model, err: error }, "stored state cannot be read; beginning anew");
        return restoreState({ ...store, read: () => Promise.resolve(undefined) }, keyPrefix + model, entries);
      });
      restoring.set(model, restored);
      void restored.then((saved) => (trackOf(model).saved = saved));
    }
    return restored;
  }

  /** The log holds the decision already, so a store that cannot take it now loses nothing: the log is read again at start. */
  function save(model: string, change: Partial<SavedState>): void {
    const track = trackOf(model);
    track.saved = { ...track.saved, ...change };
    store.write(keyPrefix + model, track.saved).catch((error: unknown) => {
      log.warn({ model, err: error }, "state is not stored now; the decision log has it");
    });
  }

  async function record(model: Model, decision: Omit<Decision, "model">): Promise<LogEntry> {
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
    decision: Pick<Decision, "type" | "trigger" | "actor" | "reason" | "verdicts" | "details">,
  ): Promise<SwitchResult> {
    const from = model.active?.id ?? engine.id;
    if (engine.quarantined) await lift(model, engine, decision);
    // Slow things first, the log line next, the assignment last: nothing is half made whenever the gateway dies.
    await engine.load();
    const states = {
      [engine.id]: {
        from: engineTrack(model.name, engine.id).state,
        to: decision.type === "switch" ? "promoted" : "settled",
      },
    };
    const entry = await record(model, { ...decision, from, to: engine.id, states });
    model.activate(engine);
    endCanary(model);
    if (from !== engine.id)
      enter(model.name, from, decision.type === "rollback" ? "rolledBack" : "observing");
    enter(model.name, engine.id, decision.type === "switch" ? "promoted" : "settled");
    const nowMs = clock.now().getTime();
    const { saved } = trackOf(model.name);
    save(model.name, {
      active: engine.id,
      standby: model.standby?.id ?? null,
      decision: entry.seq,
      switchTimesMs: [...saved.switchTimesMs, nowMs].filter((time) => nowMs - time < 3_600_000).slice(-1000),
      pausedUntilMs: nowMs + model.config.policy.cooldownSeconds * 1000,
    });
    onSwitched(model, entry);
    onChanged(model);
    return { model: model.name, from, to: engine.id, decision: entry };
  }

  async function lift(
    model: Model,
    engine: Engine,
    decision: Pick<Decision, "trigger" | "actor" | "reason">,
  ): Promise<void> {
    const entry = await record(model, {
      type: "unquarantine",
      from: engine.id,
      to: null,
      trigger: decision.trigger,
      actor: decision.actor,
      reason: decision.reason,
    });
    engine.quarantine(undefined);
    enter(model.name, engine.id, "observing");
    save(model.name, {
      quarantined: without(trackOf(model.name).saved.quarantined, engine.id),
      decision: entry.seq,
    });
  }

  function endCanary(model: Model): void {
    trackOf(model.name).canary = undefined;
  }

  /** Where a roll-back goes: the last good active engine, else the reference. */
  function fallbackOf(model: Model): Engine | undefined {
    return [model.standby, model.reference].find(
      (engine) => engine && engine !== model.active && !engine.quarantined,
    );
  }

  async function takeOut(
    model: Model,
    engine: Engine,
    reason: string,
    details: Pick<Decision, "trigger" | "verdicts" | "details">,
  ): Promise<void> {
    if (engine.quarantined) return;
    if (engine === model.active) {
      const fallback = fallbackOf(model);
      if (!fallback)
        return note(model, {
          type: "hold",
          from: engine.id,
          to: null,
          actor: "policy",
          reason: `${reason}; no other engine can serve, so it stays active`,
          ...details,
        });
      await moveTo(model, fallback, { type: "rollback", actor: "policy", reason, ...details });
    }
    const states = { [engine.id]: { from: engineTrack(model.name, engine.id).state, to: "quarantined" } };
    const entry = await record(model, {
      type: "quarantine",
      from: engine.id,
      to: null,
      actor: "policy",
      reason,
      states,
      ...details,
    });
    if (trackOf(model.name).canary?.engine === engine) endCanary(model);
    engine.quarantine(reason);
    enter(model.name, engine.id, "quarantined");
    save(model.name, {
      quarantined: { ...trackOf(model.name).saved.quarantined, [engine.id]: reason },
      decision: entry.seq,
    });
    onChanged(model);
    await engine.unload("shadow");
  }

  async function note(model: Model, decision: Omit<Decision, "model">): Promise<void> {
    await record(model, decision);
  }

  function evidenceOf(model: Model, engine: Engine): EngineEvidence {
    const track = engineTrack(model.name, engine.id);
    const verdicts = evidence.verdicts(model, engine);
    const failed = verdicts.some(({ verdict }) => verdict === "fail");
    const open = verdicts.some(({ verdict }) => verdict === "inconclusive");
    track.failures = failed ? track.failures + 1 : 0;
    track.inconclusives = !failed && open ? track.inconclusives + 1 : 0;
    if (track.state === "eligible" && (failed || open)) enter(model.name, engine.id, "observing");
    return { ...track, id: engine.id, verdicts };
  }

  async function checkModel(model: Model): Promise<void> {
    const { active } = model;
    const { policy } = model.config;
    const track = trackOf(model.name);
    const nowSeconds = clock.seconds();
    if (!active || policy.mode === "off" || model.state !== "ready" || nowSeconds < track.nextCheckSeconds)
      return;
    track.nextCheckSeconds = nowSeconds + policy.interval;
    const sinceMs = clock.now().getTime();
    const activeEvidence = evidenceOf(model, active);
    const candidates = model.candidates.map((engine) => evidenceOf(model, engine));
    const action = decide({
      nowSeconds,
      policy,
      active: activeEvidence,
      candidates,
      fallback: fallbackOf(model)?.id,
      pausedUntilSeconds: nowSeconds + (track.saved.pausedUntilMs - sinceMs) / 1000,
      switchSeconds: track.saved.switchTimesMs.map((time) => nowSeconds - (sinceMs - time) / 1000),
    });
    await act(model, action, [activeEvidence, ...candidates]);
  }

  async function act(model: Model, action: Action, looked: readonly EngineEvidence[]): Promise<void> {
    if (action.type === "none") return;
    const engine = model.engines.get(action.engine);
    if (!engine) return;
    const { policy } = model.config;
    const verdicts = looked.find(({ id }) => id === engine.id)?.verdicts ?? [];
    const why = {
      trigger: "policy",
      actor: "policy",
      reason: action.reason,
      verdicts,
      details: { policy },
    } as const;
    const advised = `${action.type} ${engine.id}`;
    const track = engineTrack(model.name, engine.id);
    if (policy.mode === "advise" || policy.dryRun) {
      // Said once for each change of mind, not at every look.
      if (track.advised === advised) return;
      track.advised = advised;
      if (action.type === "eligible") enter(model.name, engine.id, "eligible");
      if (action.type === "settle") enter(model.name, engine.id, "settled");
      const to = "to" in action ? action.to : null;
      await note(model, {
        type: "advice",
        from: engine.id,
        to,
        ...why,
        details: { policy, wouldDo: action.type },
      });
      return onChanged(model);
    }
    switch (action.type) {
      case "eligible":
      case "settle": {
        const states = {
          [engine.id]: enter(model.name, engine.id, action.type === "settle" ? "settled" : "eligible"),
        };
        await note(model, { type: "canary", from: engine.id, to: null, ...why, states });
        break;
      }
      case "canary":
        await beginCanary(model, engine, action.step, why);
        break;
      case "promote":
        await moveTo(model, engine, { type: "switch", ...why });
        break;
      case "hold":
        endCanary(model);
        await note(model, {
          type: "hold",
          from: engine.id,
          to: null,
          ...why,
          states: { [engine.id]: enter(model.name, engine.id, "observing") },
        });
        break;
      case "quarantine":
        await takeOut(model, engine, action.reason, why);
        break;
      case "rollBack":
        await takeOut(model, engine, action.reason, why);
        break;
      default:
        action satisfies never;
    }
    onChanged(model);
  }

  async function beginCanary(
    model: Model,
    engine: Engine,
    step: number,
    why: Pick<Decision, "trigger" | "actor" | "reason" | "verdicts" | "details">,
  ): Promise<void> {
    await engine.load();
    const percent = model.config.policy.canary.steps[step] ?? 100;
    const states = { [engine.id]: { from: engineTrack(model.name, engine.id).state, to: "canary" } };
    await record(model, {
      type: "canary",
      from: model.active?.id ?? null,
      to: engine.id,
      ...why,
      states,
      details: { ...why.details, percent },
    });
    enter(model.name, engine.id, "canary");
    engineTrack(model.name, engine.id).canaryStep = step;
    trackOf(model.name).canary = { engine, share: percent / 100 };
  }

  async function check(): Promise<void> {
    await Promise.all(
      models.list().map((model) =>
        inTurn(model.name, () => checkModel(model)).catch((error: unknown) => {
          log.error({ model: model.name, err: error }, "a switching decision failed; nothing was changed");
        }),
      ),
    );
  }

  const timer = setInterval(() => void check(), 500);
  timer.unref();

  const controller: Controller = {
    async storedActive(model) {
      return (await restore(model)).active ?? undefined;
    },
    adopt(model) {
      const { saved } = trackOf(model.name);
      for (const [id, reason] of Object.entries(saved.quarantined)) {
        model.engines.get(id)?.quarantine(reason);
        if (model.engines.has(id)) enter(model.name, id, "quarantined");
      }
      if (model.active) engineTrack(model.name, model.active.id).state = "settled";
      const standby = saved.standby === null ? undefined : model.engines.get(saved.standby);
      if (standby !== model.active) model.standby ??= standby;
    },
    switch: (name, id, reason, actor) =>
      inTurn(name, () => {
        const model = models.get(name);
        return moveTo(model, model.engine(id), { type: "switch", trigger: "manual", actor, reason });
      }),
    rollback: (name, reason, actor) =>
      inTurn(name, () => {
        const model = models.get(name);
        const to = fallbackOf(model);
        if (!to)
          throw new GatewayError(
            "conflict",
            `model "${name}" has no engine to roll back to: none was active before "${model.active?.id}"; switch to one by name`,
          );
        return moveTo(model, to, { type: "rollback", trigger: "manual", actor, reason });
      }),
    quarantine: (model, engine, reason, details) =>
      inTurn(model.name, () => takeOut(model, engine, reason, details)),
    note,
    chooseCanary(model) {
      const canary = tracks.get(model.name)?.canary;
      if (!canary?.engine.serving || canary.engine.quarantined) return undefined;
      return random() < canary.share ? canary.engine : undefined;
    },
    canaryServed(model, engine) {
      engineTrack(model.name, engine.id).canarySamples++;
    },
    stateOf: (model, engine) => tracks.get(model)?.engines.get(engine)?.state ?? "observing",
    roleOf(model, engine) {
      if (engine === model.active) return "active";
      return tracks.get(model.name)?.canary?.engine === engine ? "canary" : "candidate";
    },
    shares(model) {
      const canary = tracks.get(model.name)?.canary;
      const shares = new Map<string, number>();
      if (model.active) shares.set(model.active.id, 1 - (canary?.share ?? 0));
      if (canary) shares.set(canary.engine.id, canary.share);
      return shares;
    },
    check,
    async close() {
      clearInterval(timer);
      await Promise.all(turns.values());
    },
  };
  store.onCommand(({ type, model, engine = "", reason, actor }) =>
    type === "switch"
      ? controller.switch(model, engine, reason, actor)
      : controller.rollback(model, reason, actor),
  );
  return controller;
}
