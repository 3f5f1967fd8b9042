import { z } from "zod";
import type { LogEntry } from "../audit/log/entry.ts";
import type { Store } from "../store/store.ts";

/** What of a model's switching outlives the gateway. */
const savedSchema = z.object({
  active: z.string().nullable(),
  standby: z.string().nullable(),
  /** seq of the decision that made it active: a newer one in the log wins, as the log is written first. */
  decision: z.int().nonnegative(),
  quarantined: z.record(z.string(), z.string()),
  /** Wall times in milliseconds since the epoch. */
  switchTimesMs: z.array(z.number()),
  /** The cooldown after any switch: nothing is promoted until then. */
  pausedUntilMs: z.number(),
  /** The cooldown after a person's switch: nothing is decided automatically until then. */
  heldUntilMs: z.number().default(0),
});

export type SavedState = z.output<typeof savedSchema>;

export const freshState: SavedState = {
  active: null,
  standby: null,
  decision: 0,
  quarantined: {},
  switchTimesMs: [],
  pausedUntilMs: 0,
  heldUntilMs: 0,
};

/** Reads a model's state, and brings it up to the log: a switch whose line is on disk was made, even if the gateway died then. */
export async function restoreState(
  store: Store,
  key: string,
  entries: readonly LogEntry[],
): Promise<SavedState> {
  const saved = savedSchema.safeParse(await store.read(key));
  let state = saved.success ? saved.data : freshState;
  for (const entry of entries) {
    if (entry.seq <= state.decision) continue;
    if (entry.type === "switch" || entry.type === "rollback")
      state = {
        ...state,
        active: entry.to,
        standby: entry.from,
        decision: entry.seq,
        switchTimesMs: [...state.switchTimesMs, Date.parse(entry.time)],
      };
    else if (entry.type === "quarantine" && entry.from !== null)
      state = {
        ...state,
        quarantined: { ...state.quarantined, [entry.from]: entry.reason },
        decision: entry.seq,
      };
    else if (entry.type === "unquarantine" && entry.from !== null)
      state = { ...state, quarantined: without(state.quarantined, entry.from), decision: entry.seq };
  }
  return state;
}

export function without(record: Readonly<Record<string, string>>, key: string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}
