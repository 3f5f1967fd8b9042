import type { Clock } from "../core/clock.ts";
import type { Engine } from "../models/engine.ts";
import type { CandidateState } from "./decide.ts";
import { freshState, type SavedState } from "./model-state.ts";

/** Where one engine stands on its way to being active. */
export interface Track {
  state: CandidateState;
  sinceSeconds: number;
  failures: number;
  inconclusives: number;
  canaryStep: number;
  canarySamples: number;
  /** As many as there were at the last look. */
  canarySeen: number;
  /** Roll-backs in a row that nothing could take over from, when the next is due, and the cause last logged. */
  rollBacksFailed: number;
  nextRollBackSeconds: number;
  stuck: string;
  /** Times in a row that it was held as a canary, and until when it is not one again. */
  holds: number;
  canaryFromSeconds: number;
  /** What it was told of: another artifact under the name is another engine. */
  artifact: string | undefined;
  /** What was last advised about it, so that it is said once. */
  advised: string;
}

export interface ModelTrack {
  readonly engines: Map<string, Track>;
  saved: SavedState;
  /** The cooldowns and the last hour's promotions of `saved`, by the clock that nobody sets. */
  pausedUntilSeconds: number;
  heldUntilSeconds: number;
  switchSeconds: readonly number[];
  nextCheckSeconds: number;
  canary: { readonly engine: Engine; readonly share: number } | undefined;
}

/** What the controller remembers of every model, made when first asked for. */
export interface Tracks {
  model(name: string): ModelTrack;
  engine(model: string, engine: string): Track;
  /** As `model`, but undefined where nothing was ever tracked. */
  peek(model: string): ModelTrack | undefined;
  /** Forgets what was held against an engine whose artifact is another one now. */
  know(model: string, engine: Pick<Engine, "id" | "manifest">): void;
  /** Moves an engine into a state; its counts begin anew. */
  enter(model: string, engine: string, state: CandidateState): { from: CandidateState; to: CandidateState };
}

export function createTracks({ clock }: { readonly clock: Clock }): Tracks {
  const models = new Map<string, ModelTrack>();

  function trackOf(name: string): ModelTrack {
    let track = models.get(name);
    if (!track)
      models.set(
        name,
        (track = {
          engines: new Map(),
          saved: freshState,
          pausedUntilSeconds: -Infinity,
          heldUntilSeconds: -Infinity,
          switchSeconds: [],
          nextCheckSeconds: 0,
          canary: undefined,
        }),
      );
    return track;
  }

  function engineTrack(model: string, engine: string): Track {
    const { engines } = trackOf(model);
    let track = engines.get(engine);
    if (!track) engines.set(engine, (track = freshTrack(clock.seconds())));
    return track;
  }

  return {
    model: trackOf,
    engine: engineTrack,
    peek: (model) => models.get(model),
    know(model, { id, manifest }) {
      const track = engineTrack(model, id);
      const artifact = manifest.artifact.sha256;
      if (track.artifact !== artifact) Object.assign(track, { ...notHeld, artifact });
    },
    enter(model, engine, state) {
      const track = engineTrack(model, engine);
      const from = track.state;
      Object.assign(track, {
        state,
        sinceSeconds: clock.seconds(),
        failures: 0,
        inconclusives: 0,
        canarySamples: 0,
        canarySeen: 0,
        ...notStuck,
      });
      if (!candidacy.has(state)) Object.assign(track, notHeld);
      return { from, to: state };
    },
  };
}

export const notStuck = { rollBacksFailed: 0, nextRollBackSeconds: 0, stuck: "" };
const notHeld = { holds: 0, canaryFromSeconds: -Infinity };
/** States of an engine that no decision has made active or taken out. */
export const candidacy: ReadonlySet<CandidateState> = new Set(["observing", "eligible", "canary"]);

function freshTrack(sinceSeconds: number): Track {
  return {
    state: "observing",
    sinceSeconds,
    failures: 0,
    inconclusives: 0,
    canaryStep: 0,
    canarySamples: 0,
    canarySeen: 0,
    ...notStuck,
    ...notHeld,
    artifact: undefined,
    advised: "",
  };
}
