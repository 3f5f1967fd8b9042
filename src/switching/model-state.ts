import { z } from "zod";
import type { LogEntry } from "../audit/log/entry.ts";

/** Why an engine was taken out, and which artifact it was then: another one under the same name has a clean record. */
const takenOutSchema = z.union([
  z.object({ reason: z.string(), artifact: z.string().nullable() }),
  // Version 0.1.0 kept the reason alone; it holds for whatever bears the name.
  z.string().transform((reason) => ({ reason, artifact: null })),
]);

/** What of a model's switching outlives the gateway. */
const savedSchema = z.object({
  active: z.string().nullable(),
  standby: z.string().nullable(),
  /** seq of the last decision that is in here: newer ones in the log win, as the log is written first. */
  decision: z.int().nonnegative(),
  /** Its hash tells whether the log is still the one that it stands in; version 0.1.0 kept none. */
  decisionHash: z.string().nullable().default(null),
  decisionTimeMs: z.number().default(0),
  quarantined: z.record(z.string(), takenOutSchema),
  /** Rolled back while active: nobody's standby or fallback, and no candidate, until a person switches to it. */
  rolledBack: z.record(z.string(), takenOutSchema).default({}),
  /** Artifacts of engines that a switch has put another in the place of, by id. */
  left: z.record(z.string(), z.string()).default({}),
  /** Automatic promotions of the last hour. Wall times in milliseconds since the epoch, as below. */
  switchTimesMs: z.array(z.number()),
  /** The cooldown after any switch: nothing is promoted until then. */
  pausedUntilMs: z.number(),
  /** The cooldown after a person's switch: nothing is decided automatically until then. */
  heldUntilMs: z.number().default(0),
});

export type SavedState = z.output<typeof savedSchema>;
type TakenOut = SavedState["quarantined"];

export const freshState: SavedState = {
  active: null,
  standby: null,
  decision: 0,
  decisionHash: null,
  decisionTimeMs: 0,
  quarantined: {},
  rolledBack: {},
  left: {},
  switchTimesMs: [],
  pausedUntilMs: 0,
  heldUntilMs: 0,
};

/**
 * A model's state as it is stored, if it is, brought up to the log: a switch whose line is on disk was made, even if the gateway died
 * then. `newest` are the log's newest entries, whatever they are about.
 */
export function restoreState(
  document: unknown,
  newest: readonly LogEntry[],
  {
    model,
    repository,
    cooldownSeconds,
  }: { readonly model: string; readonly repository: string; readonly cooldownSeconds: number },
): SavedState {
  const parsed = savedSchema.safeParse(document);
  const saved = parsed.success ? parsed.data : freshState;
  const own = newest.filter((entry) => entry.model === model && entry.repository === repository);
  const apply = (from: SavedState, entries: readonly LogEntry[]) =>
    entries.reduce((state, entry) => afterDecision(state, entry, cooldownSeconds), from);
  if (!isBegunAnew(newest, saved)) return apply(saved, own);
  // Numbers compare with nothing now. A log that lost its end has older decisions, which are in the state already.
  const later = own.filter(({ time }) => Date.parse(time) > saved.decisionTimeMs);
  return apply({ ...saved, decision: 0, decisionHash: null }, later);
}

/** Whether the log is another one than that of the state's decision: the old one was removed or archived. */
function isBegunAnew(newest: readonly LogEntry[], { decision, decisionHash }: SavedState): boolean {
  const found = newest.find(({ seq }) => seq === decision);
  if (found) return decisionHash !== null && found.hash !== decisionHash;
  return newest.every(({ seq }) => seq < decision);
}

/** The state after a decision, of which its line in the log tells everything. */
export function afterDecision(state: SavedState, entry: LogEntry, cooldownSeconds: number): SavedState {
  const { type, from, seq, hash, time } = entry;
  if (seq <= state.decision) return state;
  const seen = { ...state, decision: seq, decisionHash: hash, decisionTimeMs: Date.parse(time) };
  if (type === "switch" || type === "rollback") return afterSwitch(seen, entry, cooldownSeconds);
  if (type === "quarantine" && from !== null)
    return { ...seen, quarantined: withEngine(state.quarantined, from, entry) };
  if (type === "unquarantine" && from !== null)
    return { ...seen, quarantined: without(state.quarantined, from) };
  return state;
}

function afterSwitch(state: SavedState, entry: LogEntry, cooldownSeconds: number): SavedState {
  const { type, from, to, trigger } = entry;
  const timeMs = Date.parse(entry.time);
  const untilMs = timeMs + cooldownSeconds * 1000;
  const moved = from !== null && from !== to;
  const left = type === "rollback" && moved ? withEngine(state.rolledBack, from, entry) : state.rolledBack;
  const rolledBack = to === null ? left : without(left, to);
  // The last good one: the engine that is left, or the one before it where that fails its rules.
  const last = leavesFailing(entry) ? state.standby : from;
  const isGood = last !== null && last !== to && !(last in rolledBack) && !(last in state.quarantined);
  const artifact = from === null ? undefined : entry.artifacts?.[from];
  const isLeft = type === "switch" && moved && artifact !== undefined;
  const places = isLeft ? { ...state.left, [from]: artifact } : state.left;
  const automatic = type === "switch" && trigger === "policy" ? [timeMs] : [];
  return {
    ...state,
    active: to,
    standby: moved ? (isGood ? last : null) : state.standby,
    rolledBack,
    left: to === null ? places : without(places, to),
    switchTimesMs: [...state.switchTimesMs, ...automatic]
      .filter((time) => timeMs - time < 3_600_000)
      .slice(-1000),
    pausedUntilMs: untilMs,
    heldUntilMs: trigger === "manual" ? untilMs : state.heldUntilMs,
  };
}

/** The policy left an engine that fails its rules: that one is no standby, which would spare it their consequences. */
export function leavesFailing({ details }: LogEntry): boolean {
  return details?.["fromFails"] !== undefined;
}

/** Why this engine, with the artifact it has now, is among those taken out; undefined when it is not. */
export function whyTakenOut(
  takenOut: TakenOut,
  {
    id,
    manifest,
  }: { readonly id: string; readonly manifest: { readonly artifact: { readonly sha256: string } } },
): string | undefined {
  const found = takenOut[id];
  const same = found?.artifact === null || found?.artifact === manifest.artifact.sha256;
  return same ? found?.reason : undefined;
}

/** Whether a switch has put another engine in the place of this one, with the artifact it has now. */
export function wasLeft(
  { left }: Pick<SavedState, "left">,
  {
    id,
    manifest,
  }: { readonly id: string; readonly manifest: { readonly artifact: { readonly sha256: string } } },
): boolean {
  return left[id] === manifest.artifact.sha256;
}

function withEngine(takenOut: TakenOut, id: string, { reason, artifacts }: LogEntry): TakenOut {
  return { ...takenOut, [id]: { reason, artifact: artifacts?.[id] ?? null } };
}

function without<T>(byEngine: Readonly<Record<string, T>>, id: string): Record<string, T> {
  return Object.fromEntries(Object.entries(byEngine).filter(([name]) => name !== id));
}
