import type { Log } from "../core/log.ts";

/** What is wrong with a store, by part. The log hears when a part fails and when it is well again, not of each try between. */
export interface Troubles {
  set(part: string, message: string): void;
  clear(part: string): void;
  has(part: string): boolean;
  /** All of it in one line; undefined when all is well. */
  readonly text: string | undefined;
}

/** The remedy where Redis answers, and refuses. */
export const triedAgain = "it is tried again; see Redis's memory, disk and access rights";

export function createTroubles(log: Log): Troubles {
  const parts = new Map<string, string>();
  return {
    set(part, message) {
      if (!parts.has(part)) log.warn({ part, reason: message }, "store: trouble; going on from local state");
      parts.set(part, message);
    },
    clear(part) {
      if (parts.delete(part)) log.info({ part }, "store: well again");
    },
    has: (part) => parts.has(part),
    get text() {
      return parts.size === 0 ? undefined : [...parts.values()].join("; ");
    },
  };
}
