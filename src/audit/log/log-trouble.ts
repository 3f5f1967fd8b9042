import type { Clock } from "../../core/clock.ts";
import type { DecisionLog } from "./decision-log.ts";

/** A decision log that tells what kept the last decision from it; undefined when it was taken. */
export interface WatchedLog extends DecisionLog {
  readonly trouble: string | undefined;
}

export function watchLog(log: DecisionLog, { clock }: { readonly clock: Clock }): WatchedLog {
  let trouble: string | undefined;
  return {
    async append(decision) {
      try {
        const entry = await log.append(decision);
        trouble = undefined;
        return entry;
      } catch (error) {
        // Decisions are rare: whoever reads this later must see how old it is.
        trouble = `${(error as Error).message} (tried last at ${clock.now().toISOString()})`;
        throw error;
      }
    },
    read: (after, limit) => log.read(after, limit),
    tail: (count) => log.tail(count),
    get lastSeq() {
      return log.lastSeq;
    },
    get trouble() {
      return trouble;
    },
    close: () => log.close(),
  };
}
