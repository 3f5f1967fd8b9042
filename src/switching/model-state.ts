import { z } from "zod";
import type { LogEntry } from "../audit/log/entry.ts";
import type { Store } from "../store/store.ts";

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
  quarantined: z.record(z.string(), takenOutSchema),
  /** Rolled back while active: nobody's standby or fallback, and no candidate, until a person switches to it. */
  rolledBack: z.record(z.string(), takenOutSchema).default({}),
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
  quarantined: {},
  rolledBack: {},
  switchTimesMs: [],
  pausedUntilMs: 0,
  heldUntilMs: 0,
};

/** Reads a model's state, and brings it up to the log: a switch whose line is on disk was made, even if the gateway died then. */
export async function restoreState(
  store: Pick<Store, "read">,
  key: string,
  entries: readonly LogEntry[],
  cooldownSeconds: number,
): Promise<SavedState> {
  const saved = savedSchema.safeParse(await store.read(key));
  return entries.reduce(
    (state, entry) => afterDecision(state, entry, cooldownSeconds),
    saved.success ? saved.data : freshState,
  );
}

/** The state after a decision, of which its line in the log tells everything. */
export function afterDecision(state: SavedState, entry: LogEntry, cooldownSeconds: number): SavedState {
  const { type, from, seq } = entry;
  if (seq <= state.decision) return state;
  if (type === "switch" || type === "rollback") return afterSwitch(state, entry, cooldownSeconds);
  if (type === "quarantine" && from !== null)
    return { ...state, quarantined: withEngine(state.quarantined, from, entry), decision: seq };
  if (type === "unquarantine" && from !== null)
    return { ...state, quarantined: without(state.quarantined, from), decision: seq };
  return state;
}

function afterSwitch(state: SavedState, entry: LogEntry, cooldownSeconds: number): SavedState {
  const { type, from, to, trigger, seq } = entry;
  const timeMs = Date.parse(entry.time);
  const untilMs = timeMs + cooldownSeconds * 1000;
  const moved = from !== null && from !== to;
  const left = type === "rollback" && moved ? withEngine(state.rolledBack, from, entry) : state.rolledBack;
  const rolledBack = to === null ? left : without(left, to);
  const isGood = moved && !(from in rolledBack) && !(from in state.quarantined);
  const automatic = type === "switch" && trigger === "policy" ? [timeMs] : [];
  return {
    ...state,
    active: to,
    standby: moved ? (isGood ? from : null) : state.standby,
    decision: seq,
    rolledBack,
    switchTimesMs: [...state.switchTimesMs, ...automatic]
      .filter((time) => timeMs - time < 3_600_000)
      .slice(-1000),
    pausedUntilMs: untilMs,
    heldUntilMs: trigger === "manual" ? untilMs : state.heldUntilMs,
  };
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

function withEngine(takenOut: TakenOut, id: string, { reason, artifacts }: LogEntry): TakenOut {
  return { ...takenOut, [id]: { reason, artifact: artifacts?.[id] ?? null } };
}

function without(takenOut: TakenOut, id: string): TakenOut {
  return Object.fromEntries(Object.entries(takenOut).filter(([name]) => name !== id));
}
