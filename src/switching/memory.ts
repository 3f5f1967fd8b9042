import { isDeepStrictEqual } from "node:util";
import type { DecisionLog } from "../audit/log/decision-log.ts";
import type { LogEntry } from "../audit/log/entry.ts";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
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

const hourSeconds = 3600;

export function createMemory(options: {
  readonly tracks: Tracks;
  readonly store: Store;
  /** Prefix of this repository's keys in the store. */
  readonly keyPrefix: string;
  readonly repository: string;
  readonly decisions: DecisionLog;
  readonly clock: Clock;
  readonly log: Log;
}): Memory {
  const { tracks, store, keyPrefix, repository, decisions, clock, log } = options;
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

  function later(name: string): void {
    unwritten.add(name);
    timer ??= setTimeout(write, writeDelayMs).unref();
  }

  async function read({ name, config }: Model): Promise<SavedState> {
    let stored: unknown;
    let isOutOfReach = false;
    try {
      stored = await store.read(keyPrefix + name);
    } catch (error) {
      log.error({ model: name, err: error }, "stored state cannot be read; beginning anew");
      // What was damaged has been set aside; anything else may be there again later, and is not written over.
      isOutOfReach = !(error instanceof GatewayError);
    }
    const { cooldownSeconds } = config.policy;
    const saved = restoreState(stored, decisions.tail(Infinity), {
      model: name,
      repository,
      cooldownSeconds,
    });
    // What came from the log alone is written: decisions of others will push it out of what is read of the log.
    if (!isOutOfReach && saved.decision > 0 && !isDeepStrictEqual(saved, stored)) later(name);
    return saved;
  }

  /** A device without a battery has its clock set after each boot: nothing that is saved holds for longer than it could. */
  function enforce({ name, config }: Model, saved: SavedState): void {
    const { cooldownSeconds } = config.policy;
    const [nowMs, now] = [clock.now().getTime(), clock.seconds()];
    const until = (ms: number) => now + Math.min(cooldownSeconds, (ms - nowMs) / 1000);
    Object.assign(tracks.model(name), {
      saved,
      pausedUntilSeconds: until(saved.pausedUntilMs),
      heldUntilSeconds: until(saved.heldUntilMs),
      switchSeconds: saved.switchTimesMs.map((ms) => now - Math.max(0, nowMs - ms) / 1000),
    });
  }

  return {
    restore(model) {
      let restored = restoring.get(model.name);
      if (!restored) {
        restored = read(model).then((saved) => enforce(model, saved));
        restoring.set(model.name, restored);
      }
      return restored;
    },
    record({ name, config }, entry) {
      const track = tracks.model(name);
      const { cooldownSeconds } = config.policy;
      track.saved = afterDecision(track.saved, entry, cooldownSeconds);
      const { type, trigger } = entry;
      if (type === "switch" || type === "rollback") {
        const now = clock.seconds();
        track.pausedUntilSeconds = now + cooldownSeconds;
        if (trigger === "manual") track.heldUntilSeconds = now + cooldownSeconds;
        if (type === "switch" && trigger === "policy")
          track.switchSeconds = [...track.switchSeconds, now].filter((at) => now - at < hourSeconds);
      }
      later(name);
    },
    async close() {
      closed = true;
      write();
      await Promise.all(writing.values());
    },
  };
}
