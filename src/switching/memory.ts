import type { DecisionLog } from "../audit/log/decision-log.ts";
import type { Log } from "../core/log.ts";
import type { Store } from "../store/store.ts";
import { restoreState, type SavedState } from "./model-state.ts";
import type { Tracks } from "./tracks.ts";

/** What of the switching outlives the gateway: read once per model, written with each change. */
export interface Memory {
  /** Resolves when the track of the model has what was stored. */
  restore(model: string): Promise<void>;
  /** The log holds the decision already, so a store that cannot take it now loses nothing: the log is read again at start. */
  save(model: string, change: Partial<SavedState>): void;
}

export function createMemory(options: {
  readonly tracks: Tracks;
  readonly store: Store;
  /** Prefix of this repository's keys in the store. */
  readonly keyPrefix: string;
  readonly repository: string;
  readonly decisions: DecisionLog;
  readonly log: Log;
}): Memory {
  const { tracks, store, keyPrefix, repository, decisions, log } = options;
  const restoring = new Map<string, Promise<void>>();

  async function read(model: string): Promise<SavedState> {
    const entries = decisions
      .tail(Infinity)
      .filter((entry) => entry.model === model && entry.repository === repository);
    try {
      return await restoreState(store, keyPrefix + model, entries);
    } catch (error) {
      log.error({ model, err: error }, "stored state cannot be read; beginning anew");
      const nothing = { ...store, read: () => Promise.resolve(undefined) };
      return restoreState(nothing, keyPrefix + model, entries);
    }
  }

  return {
    restore(model) {
      let restored = restoring.get(model);
      if (!restored) {
        restored = read(model).then((saved) => void (tracks.model(model).saved = saved));
        restoring.set(model, restored);
      }
      return restored;
    },
    save(model, change) {
      const track = tracks.model(model);
      track.saved = { ...track.saved, ...change };
      store.write(keyPrefix + model, track.saved).catch((error: unknown) => {
        log.warn({ model, err: error }, "state is not stored now; the decision log has it");
      });
    },
  };
}
