import { createHash } from "node:crypto";
import { realpath } from "node:fs/promises";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { Redis } from "ioredis";
import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { openFileStore } from "./file-store.ts";
import type { DecisionSource, Store, StoreCommand } from "./store.ts";

/** At start Redis is given this long; then the gateway goes on from local state. */
const connectMs = 2_000;
const lockMs = 30_000;
const batch = 100;
/** Undelivered decisions beyond this many are left to the log's files. */
const mostUndelivered = 10_000;
const mostInStream = 100_000;

const commandSchema = z.object({
  type: z.enum(["switch", "rollback"]),
  model: z.string(),
  engine: z.string().optional(),
  reason: z.string().min(1),
  actor: z.string().default("redis"),
});

/**
 * State in Redis for fleets, with the file store below it: every write is on local disk first, so that serving and
 * deciding go on while Redis is away. Under `crosscheck:<host name>:<hash of store.path>`:
 * `state` (hash of JSON documents), `decisions` (Stream, entry id `<seq>-0`, so that none can be added twice or out of
 * order), `commands` (Stream to give orders by), `lock`.
 */
export async function openRedisStore(options: {
  readonly url: string;
  readonly path: string;
  readonly log: Log;
}): Promise<Store> {
  const { url, path, log } = options;
  const local = await openFileStore({ path });
  const owner = `${hostname()}:${await realpath(resolve(path))}`;
  const space = `crosscheck:${hostname()}:${createHash("sha256").update(owner).digest("hex").slice(0, 8)}`;
  const connect = () =>
    new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(100 * times, 2_000),
    });
  const redis = connect();
  const listener = connect();
  const state = { closed: false, trouble: "not connected yet" as string | undefined };
  /** Documents that Redis has not taken yet: the newest of each key. */
  const dirty = new Map<string, string>();
  const onReady: (() => void)[] = [flush];

  for (const connection of [redis, listener])
    connection.on("error", (error: Error) => trouble(error.message));
  redis.on("close", () => trouble("connection lost"));
  redis.on("ready", () => {
    state.trouble = undefined;
    log.info({ space }, "store: Redis is connected");
    for (const work of onReady) work();
  });

  function trouble(message: string): void {
    if (state.closed || state.trouble === message) return;
    state.trouble = message;
    log.warn({ reason: message }, "store: Redis is away; going on from local state");
  }

  function flush(): void {
    for (const [key, text] of dirty)
      redis.hset(`${space}:state`, key, text).then(
        () => dirty.get(key) === text && dirty.delete(key),
        (error: Error) => trouble(error.message),
      );
  }

  // Whoever holds the local lock is the only one on this host with this path, so a lock of the same owner is a stale one.
  async function lock(): Promise<void> {
    const key = `${space}:lock`;
    if ((await redis.set(key, owner, "PX", lockMs, "NX")) === "OK") return;
    const holder = await redis.get(key);
    if (holder !== null && holder !== owner)
      throw new GatewayError(
        "conflict",
        `gateway "${holder}" uses the Redis store "${space}"; stop it or give this one another store.path`,
      );
    await redis.set(key, owner, "PX", lockMs);
  }
  const keepLock = setInterval(() => {
    if (redis.status === "ready") lock().catch((error: Error) => log.error({ err: error }, "store: lock"));
  }, lockMs / 3);
  keepLock.unref();

  try {
    await withTimeout(redis.connect(), connectMs);
    await lock();
  } catch (error) {
    if (error instanceof GatewayError) {
      clearInterval(keepLock);
      redis.disconnect();
      await local.close();
      throw error;
    }
    trouble((error as Error).message);
  }
  listener.connect().catch((error: Error) => trouble(error.message));

  return {
    async read(key) {
      const document = await local.read(key);
      if (document !== undefined || redis.status !== "ready") return document;
      // A new device under an old name: the fleet remembers what the disk does not.
      const text = await redis.hget(`${space}:state`, key).catch(() => null);
      return text === null ? undefined : (JSON.parse(text) as unknown);
    },
    async write(key, document) {
      await local.write(key, document);
      dirty.set(key, JSON.stringify(document));
      if (redis.status === "ready") flush();
    },
    deliver(source) {
      const delivery = createDelivery({
        redis,
        stream: `${space}:decisions`,
        source,
        trouble,
        closed: () => state.closed,
      });
      onReady.push(() => delivery.wake());
      delivery.wake();
      return delivery;
    },
    onCommand(handler) {
      void readCommands({
        redis: listener,
        stream: `${space}:commands`,
        handler,
        log,
        closed: () => state.closed,
      });
    },
    get trouble() {
      return state.trouble;
    },
    async close() {
      if (state.closed) return;
      state.closed = true;
      clearInterval(keepLock);
      listener.disconnect();
      if (redis.status === "ready")
        await withTimeout(redis.del(`${space}:lock`), connectMs).catch(() => undefined);
      redis.disconnect();
      await local.close();
    },
  };
}

/** Copies the log into the stream, one run at a time, from where the stream ends. */
function createDelivery(options: {
  readonly redis: Redis;
  readonly stream: string;
  readonly source: DecisionSource;
  readonly trouble: (message: string) => void;
  readonly closed: () => boolean;
}): { wake(): void } {
  const { redis, stream, source, trouble, closed } = options;
  let running = false;
  let again = false;

  async function lastDelivered(): Promise<number> {
    const [newest] = await redis.xrevrange(stream, "+", "-", "COUNT", 1);
    const seq = newest ? Number(newest[0].split("-")[0]) : 0;
    if (seq <= source.lastSeq) return Math.max(seq, source.lastSeq - mostUndelivered);
    // The log was begun anew: its numbers start again, so the old stream is put aside, not mixed.
    await redis.rename(stream, `${stream}:until-${Date.now()}`);
    return 0;
  }

  async function run(): Promise<void> {
    let after = await lastDelivered();
    for (;;) {
      const { entries } = await source.read(after, batch);
      if (entries.length === 0 || closed()) return;
      for (const entry of entries) {
        await redis.xadd(
          stream,
          "MAXLEN",
          "~",
          mostInStream,
          `${entry.seq}-0`,
          "entry",
          JSON.stringify(entry),
        );
        after = entry.seq;
      }
    }
  }

  return {
    wake() {
      again = true;
      if (running || redis.status !== "ready") return;
      running = true;
      void (async () => {
        try {
          while (again) {
            again = false;
            await run();
          }
        } catch (error) {
          // The next connection, or the next decision, begins where the stream ends.
          trouble((error as Error).message);
        } finally {
          running = false;
        }
      })();
    },
  };
}

async function readCommands(options: {
  readonly redis: Redis;
  readonly stream: string;
  readonly handler: (command: StoreCommand) => Promise<unknown>;
  readonly log: Log;
  readonly closed: () => boolean;
}): Promise<void> {
  const { redis, stream, handler, log, closed } = options;
  let after: string | undefined;
  while (!closed()) {
    try {
      if (redis.status !== "ready") throw new Error("not connected");
      after ??= (await redis.xrevrange(stream, "+", "-", "COUNT", 1))[0]?.[0] ?? "0";
      const reply = await redis.xread("COUNT", 10, "BLOCK", 1000, "STREAMS", stream, after);
      for (const [id, fields] of reply?.[0]?.[1] ?? []) {
        after = id;
        const command = commandSchema.safeParse(Object.fromEntries(pairs(fields)));
        if (command.success)
          await handler({ id, ...command.data, engine: command.data.engine }).catch((error: unknown) =>
            log.error({ id, err: error }, "a command from Redis failed"),
          );
        else log.warn({ id, reason: z.prettifyError(command.error) }, "a command in Redis is not understood");
      }
    } catch {
      // Redis is away, which the other connection tells.
      await new Promise((resolve) => setTimeout(resolve, 200).unref());
    }
  }
}

function pairs(fields: readonly string[]): [string, string][] {
  return fields.flatMap((field, at) =>
    at % 2 === 0 ? [[field, fields[at + 1] ?? ""] as [string, string]] : [],
  );
}

function withTimeout<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
