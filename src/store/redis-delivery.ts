import type { Redis } from "ioredis";
import type { Log } from "../core/log.ts";
import { createPersistent, type Persistent } from "./persistent.ts";
import type { DecisionSource } from "./store.ts";
import { triedAgain, type Troubles } from "./troubles.ts";

const batch = 500;
/** Undelivered decisions beyond this many are left to the log's files. */
const mostUndelivered = 10_000;
const mostInStream = 100_000;

export interface RedisDelivery extends Persistent {
  /** There is a new connection: the stream may end elsewhere than it did. */
  reconnected(): void;
}

/** Copies the log into the stream, from where the stream ends. */
export function createDelivery(options: {
  readonly redis: Redis;
  readonly stream: string;
  readonly source: DecisionSource;
  readonly ready: () => boolean;
  readonly troubles: Troubles;
  readonly log: Log;
}): RedisDelivery {
  const { redis, stream, source, ready, troubles, log } = options;
  /** seq of the stream's last entry; undefined when it must be asked for. */
  let delivered: number | undefined;
  /** Changes with each new connection: what was found out over the one before does not hold any more. */
  let connection = 0;

  /** The stream's last seq, if that entry is the log's; a stream of another log is put aside, not mixed with this one's. */
  async function endOfStream(): Promise<number> {
    const [newest] = await redis.xrevrange(stream, "+", "-", "COUNT", 1);
    if (!newest) return 0;
    const seq = Number(newest[0].split("-")[0]);
    const [own] = (await source.read(seq - 1, 1)).entries;
    // Where the log's own entry was archived away there is nothing to compare with.
    if (own && (own.seq > seq || own.hash === hashIn(newest[1]))) return seq;
    const aside = `${stream}:until-${Date.now()}`;
    await redis.rename(stream, aside);
    log.warn(
      { stream, aside },
      "store: the decision log was begun anew; the stream of the old one is put aside",
    );
    return 0;
  }

  async function work(): Promise<void> {
    const begun = connection;
    const requireIt = () => {
      if (!ready() || connection !== begun) throw new Error("Redis is away");
    };
    try {
      let end = delivered ?? (await endOfStream());
      for (;;) {
        const from = Math.max(end, source.lastSeq - mostUndelivered);
        const { entries } = await source.read(from, batch);
        requireIt();
        delivered = end;
        if (entries.length === 0) return;
        for (const entry of entries) {
          if (entry.seq > end + 1) tellGap(end + 1, entry.seq - 1);
          const text = JSON.stringify(entry);
          await redis.xadd(stream, "MAXLEN", "~", mostInStream, `${entry.seq}-0`, "entry", text);
          requireIt();
          delivered = end = entry.seq;
        }
      }
    } catch (error) {
      // Whether the last entry arrived is not known.
      delivered = undefined;
      throw error;
    }
  }

  function tellGap(first: number, last: number): void {
    const message = `decisions ${first} to ${last} are not in the Redis stream: more than ${mostUndelivered} behind, or archived away; the log's files have them`;
    troubles.set(`gap ${first}`, message);
  }

  const persistent = createPersistent({
    work,
    ready,
    onFailed: ({ message }) =>
      troubles.set("decisions", `decisions are not delivered to Redis: ${message}; ${triedAgain}`),
    onDone: () => troubles.clear("decisions"),
  });
  return {
    ...persistent,
    reconnected() {
      connection += 1;
      delivered = undefined;
      persistent.wake();
    },
  };
}

/** Of an entry in the stream: its fields are `entry` and the log line's JSON. */
export function hashIn([, text = ""]: readonly string[]): string | undefined {
  return /"hash":"([0-9a-f]{64})"\}$/.exec(text)?.[1];
}
