import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";

export interface Failover {
  readonly model: Model;
  readonly from: Engine;
  readonly to: Engine;
  readonly reason: string;
}

/**
 * Requests that moved to another engine or instance, as lines for the decision log: the first at once, those of the
 * minute after it together, so that an engine which dies at every request does not fill the log.
 */
export interface FailoverNotes {
  add(failover: Failover): void;
  /** Writes what is counted and not written yet. */
  close(): void;
}

export function createFailoverNotes(options: {
  readonly write: (last: Failover, requests: number) => void;
  readonly periodMs?: number;
}): FailoverNotes {
  const { write, periodMs = 60_000 } = options;
  const counting = new Map<string, { requests: number; last: Failover; timer: NodeJS.Timeout }>();

  function begin(key: string, last: Failover): void {
    const timer = setTimeout(() => end(key), periodMs);
    timer.unref();
    counting.set(key, { requests: 0, last, timer });
  }

  function end(key: string): void {
    const { requests = 0, last } = counting.get(key) ?? {};
    counting.delete(key);
    if (requests === 0 || !last) return;
    write(last, requests);
    begin(key, last);
  }

  return {
    add(failover) {
      const key = `${failover.model.name}\0${failover.from.id}`;
      const counted = counting.get(key);
      if (counted) {
        counted.requests++;
        counted.last = failover;
        return;
      }
      write(failover, 1);
      begin(key, failover);
    },
    close() {
      for (const { requests, last, timer } of counting.values()) {
        clearTimeout(timer);
        if (requests > 0) write(last, requests);
      }
      counting.clear();
    },
  };
}
