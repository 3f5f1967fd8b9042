import { z } from "zod";
import type { Log } from "../../core/log.ts";
import type { Store } from "../../store/store.ts";
import type { DecisionLog } from "./decision-log.ts";
import type { LogEntry } from "./entry.ts";

/**
 * Where the log ends, kept in the store: a cut-off end leaves a chain that is whole, so that something else must know of
 * it. `crosscheck log verify` looks for it there as well.
 */
export interface LogEnd {
  /** Writes into the log that it does not end where it did, if so. */
  check(decisions: DecisionLog): Promise<void>;
  note(entry: LogEntry): void;
  close(): Promise<void>;
}

/** Its names are those of a model's state, which knows of a decision too. */
const endSchema = z.object({ decision: z.int().positive(), decisionHash: z.string() });
const key = "log-end";

/** Not with each decision: it is no part of making one. */
const writeDelayMs = 250;

/** Reads what is known, to be done before the log is opened, which may add to it. */
export async function openLogEnd({
  store,
  log,
}: {
  readonly store: Pick<Store, "read" | "write">;
  readonly log: Log;
}): Promise<LogEnd> {
  const read = await store.read(key).catch((error: unknown) => {
    log.warn({ err: error }, "where the decision log ended cannot be read");
  });
  const known = endSchema.safeParse(read).data;
  /** While it is not written. */
  let newest: LogEntry | undefined;
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();

  function write(): void {
    clearTimeout(timer);
    timer = undefined;
    const entry = newest;
    if (!entry) return;
    newest = undefined;
    const end = { decision: entry.seq, decisionHash: entry.hash } satisfies z.output<typeof endSchema>;
    writing = store.write(key, end).catch((error: unknown) => {
      log.warn({ err: error }, "where the decision log ends is not stored now");
      newest ??= entry;
    });
  }

  return {
    async check(decisions) {
      if (!known) return;
      const { decision, decisionHash } = known;
      const [own] = (await decisions.read(decision - 1, 1)).entries;
      // One that follows it is there where older files were archived.
      if (own && (own.seq > decision || own.hash === decisionHash)) return;
      const { lastSeq } = decisions;
      const reason = own
        ? `decision ${decision} is another one than it was: the log was begun anew or sealed anew`
        : `the log ends with decision ${lastSeq}, but it had ${decision}: its end was cut off, or it was begun anew`;
      log.warn({ lastSeq, expected: known }, reason);
      const line = { type: "repair", model: null, from: null, to: null, trigger: "startup" } as const;
      // A disk that takes no line now says so elsewhere, and must not keep the gateway from starting.
      await decisions
        .append({ ...line, actor: "gateway", reason, details: { expected: known } })
        .catch(() => undefined);
    },
    note(entry) {
      newest = entry;
      timer ??= setTimeout(write, writeDelayMs).unref();
    },
    async close() {
      write();
      await writing;
    },
  };
}

/** Why a line tells that the log before it is not what it was. One that was begun anew as a whole says so in its first line. */
export function lossToldIn({ type, seq, details, reason }: LogEntry): string | undefined {
  return type === "repair" && seq > 1 && details?.["expected"] !== undefined ? reason : undefined;
}
