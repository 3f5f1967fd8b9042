import type { DecisionLog } from "../audit/log/decision-log.ts";
import type { LogEntry } from "../audit/log/entry.ts";
import type { Log } from "../core/log.ts";
import type { Model } from "../models/model.ts";
import type { Store } from "../store/store.ts";
import { afterDecision, restoreState, type SavedState } from "./model-state.ts";
import type { Tracks } from "./tracks.ts";

/** What of the switching outlives the gateway: read once per model, written after each change. */
export interface Memory {
  /** Resolves when the track of the model has what was stored. */
  restore(model: Model): Promise<void>;
  /** The log holds the decision already, so a store that cannot take it now loses nothing: the log is read again at start. */
  record(model: Model, entry: LogEntry): void;
  /** Writes what is not written yet. */
  close(): Promise<void>;
}

/**
 * A change is written this long after it was made, and with it those that followed: the log has it, so that nothing
 * hangs on the state, and a switch must not pile its writing on the requests that meet it.
 */
const writeDelayMs = 250;

/** What could not be written is tried again after this long, whether anything changes or not. */
const retryMs = 60_000;

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
  const unwritten = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let retry: NodeJS.Timeout | undefined;
  let closed = false;
  const writing = new Map<string, Promise<void>>();

  function write(): void {
    clearTimeout(timer);
    clearTimeout(retry);
    timer = retry = undefined;
    for (const name of unwritten) {
      const written = store.write(keyPrefix + name, tracks.model(name).saved).catch((error: unknown) => {
        log.warn({ model: name, err: error }, "state is not stored now; the decision log has it");
        unwritten.add(name);
        if (!closed) retry ??= setTimeout(write, retryMs).unref();
      });
      writing.set(name, written);
    }
    unwritten.clear();
  }

  async function read({ name, config }: Model): Promise<SavedState> {
    const { cooldownSeconds } = config.policy;
    const about = { model: name, repository, cooldownSeconds };
    const restored = (from: Pick<Store, "read">) =>
      restoreState(from, keyPrefix + name, decisions.tail(Infinity), about);
    try {
      return await restored(store);
    } catch (error) {
      log.error({ model: name, err: error }, "stored state cannot be read; beginning anew");
      return restored({ read: () => Promise.resolve(undefined) });
    }
  }

  return {
    restore(model) {
      let restored = restoring.get(model.name);
      if (!restored) {
        restored = read(model).then((saved) => void (tracks.model(model.name).saved = saved));
        restoring.set(model.name, restored);
      }
      return restored;
    },
    record({ name, config }, entry) {
      const track = tracks.model(name);
      track.saved = afterDecision(track.saved, entry, config.policy.cooldownSeconds);
      unwritten.add(name);
      timer ??= setTimeout(write, writeDelayMs).unref();
    },
    async close() {
      closed = true;
      write();
      await Promise.all(writing.values());
    },
  };
}
