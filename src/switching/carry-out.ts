import type { Model } from "../models/model.ts";
import type { Changes, Why } from "./changes.ts";
import { failing, isAdviceOnly, type Action, type EngineEvidence } from "./decide.ts";
import type { Tracks } from "./tracks.ts";

/** Makes what was decided happen; in mode `advise` and in a dry run it is said instead, once for each change of mind. */
export async function carryOut(
  model: Model,
  action: Action,
  looked: readonly EngineEvidence[],
  { changes, tracks }: { readonly changes: Changes; readonly tracks: Tracks },
): Promise<boolean> {
  if (action.type === "none") return false;
  const engine = model.engines.get(action.engine);
  if (!engine) return false;
  if (action.type === "watch") {
    // The switch is in the log, and with it that a watch follows.
    tracks.enter(model.name, engine.id, "watch");
    return false;
  }
  const { policy } = model.config;
  const why: Why = {
    trigger: "policy",
    actor: "policy",
    reason: action.reason,
    verdicts: looked.find(({ id }) => id === engine.id)?.verdicts ?? [],
    details: { policy },
  };
  // Eligible for nothing but a person's decision, where nothing says that its outputs are right.
  const adviceOnly = action.type === "eligible" && !model.reference;
  if (isAdviceOnly(policy) || adviceOnly) return advise(model, action, why, { changes, tracks });
  const about = { from: engine.id, to: null, ...why };
  switch (action.type) {
    case "eligible":
    case "settle": {
      const to = action.type === "settle" ? "settled" : "eligible";
      const states = { [engine.id]: { from: tracks.engine(model.name, engine.id).state, to } };
      await changes.note(model, { type: "canary", ...about, states });
      tracks.enter(model.name, engine.id, to);
      break;
    }
    case "canary":
      await changes.beginCanary(model, engine, action.step, why);
      break;
    case "promote": {
      const active = looked.find(({ id }) => id === model.active?.id);
      const fromFails = active ? failing(active) : [];
      const details = { ...why.details, ...(fromFails.length > 0 && { fromFails }) };
      await changes.moveTo(model, engine, { type: "switch", ...why, details });
      break;
    }
    case "hold":
      await changes.hold(model, engine, why);
      break;
    case "quarantine":
    case "rollBack":
      await changes.takeOut(model, engine, action.reason, why);
      break;
    default:
      action satisfies never;
  }
  return true;
}

async function advise(
  model: Model,
  action: Exclude<Action, { type: "none" | "watch" }>,
  why: Why,
  { changes, tracks }: { readonly changes: Changes; readonly tracks: Tracks },
): Promise<boolean> {
  // What only names a state is in force; what would touch traffic is not.
  if (action.type === "eligible") tracks.enter(model.name, action.engine, "eligible");
  if (action.type === "settle") tracks.enter(model.name, action.engine, "settled");
  const track = tracks.engine(model.name, action.engine);
  const advised = action.type === "canary" ? `canary ${action.step}` : action.type;
  if (track.advised === advised) return false;
  track.advised = advised;
  const to = "to" in action ? action.to : null;
  const details = { ...why.details, wouldDo: action.type };
  await changes.note(model, { type: "advice", from: action.engine, to, ...why, details });
  return true;
}
