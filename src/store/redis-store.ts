import { Redis } from "ioredis";
import type { Log } from "../core/log.ts";
import { openFileStore } from "./file-store.ts";
import { createPersistent } from "./persistent.ts";
import { readCommands } from "./redis-commands.ts";
import { createDelivery } from "./redis-delivery.ts";
import { createRedisLock } from "./redis-lock.ts";
import { openSpace } from "./redis-space.ts";
import type { Store } from "./store.ts";
import { createTroubles, triedAgain } from "./troubles.ts";

/** At start Redis is given this long; then the gateway goes on from local state. */
const connectMs = 2_000;

/**
 * State in Redis for fleets, with the file store below it: every write is on local disk first, so that serving and
 * deciding go on while Redis is away. Under `crosscheck:<host name>:<id>`, the id from the file `id` in store.path:
 * `state` (hash of JSON documents), `decisions` (Stream, entry id `<seq>-0`, so that none can be added twice or out of
 * order), `commands` (Stream to give orders by), `lock` (who may write; nothing is written without it).
 */
export async function openRedisStore(options: {
  readonly url: string;
  readonly path: string;
  readonly log: Log;
  readonly leaseMs?: number;
}): Promise<Store> {
  const { url, path, log, leaseMs = 30_000 } = options;
  const local = await openFileStore({ path });
  const { space, owner, cursorFile } = await openSpace(path).catch(async (error: unknown) => {
    await local.close();
    throw error;
  });
  const connect = () =>
    new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(100 * times, 2_000),
    });
  const redis = connect();
  const lock = createRedisLock({ redis, key: `${space}:lock`, owner, leaseMs });
  const troubles = createTroubles(log);
  let closed = false;
  const ready = () => redis.status === "ready" && lock.held;
  /** Keys of documents that Redis has not taken yet. */
  const dirty = new Set<string>();
  const onHeld: (() => void)[] = [];
  const onClose: (() => Promise<void> | void)[] = [];

  const flush = createPersistent({
    async work() {
      for (const key of dirty) {
        dirty.delete(key);
        try {
          const text = await local.readText(key);
          if (text !== undefined) await redis.hset(`${space}:state`, key, text);
        } catch (error) {
          dirty.add(key);
          throw error;
        }
      }
    },
    ready,
    onFailed: ({ message }) =>
      troubles.set("state", `state is not written to Redis: ${message}; ${triedAgain}`),
    onDone: () => troubles.clear("state"),
  });
  // What was written while Redis was away, before this start too, is not known apart: everything is written once.
  for (const key of await local.keys()) dirty.add(key);
  onHeld.push(() => flush.wake());
  onClose.push(() => flush.close());

  /** Nothing is written without the lock; whoever waits for it goes on when it is held again. */
  async function holdLock(): Promise<void> {
    const before = lock.held;
    try {
      const holder = await lock.take();
      if (holder !== owner)
        return troubles.set(
          "lock",
          `gateway "${holder}" uses the Redis store "${space}", so nothing is written to it; stop that one, or remove "${path}/id" if this device is a copy of it`,
        );
    } catch (error) {
      if (!lock.held && redis.status === "ready")
        troubles.set(
          "lock",
          `the lock of the Redis store cannot be had: ${(error as Error).message}; ${triedAgain}`,
        );
      return;
    }
    troubles.clear("lock");
    if (!before) for (const work of onHeld) work();
  }

  const away = (why: string) =>
    troubles.set(
      "connection",
      `Redis is away: ${why}; serving and deciding go on without it: start it, or set store.url`,
    );
  let joined: Promise<void> = Promise.resolve();
  redis.on("error", ({ message }: Error) => away(message));
  redis.on("close", () => {
    lock.forget();
    if (!closed && !troubles.has("connection")) away("connection lost");
  });
  redis.on("ready", () => {
    troubles.clear("connection");
    log.info({ space }, "store: Redis is connected");
    joined = holdLock();
  });
  const renewal = setInterval(() => {
    if (redis.status === "ready") void holdLock();
  }, leaseMs / 3);
  renewal.unref();

  try {
    await withTimeout(redis.connect(), connectMs);
    await withTimeout(joined, connectMs);
  } catch (error) {
    if (!troubles.has("connection")) away((error as Error).message);
  }

  return {
    async read(key) {
      const document = await local.read(key);
      if (document !== undefined || !ready()) return document;
      // A new device with an old one's id: the fleet remembers what the disk does not.
      const text = await redis.hget(`${space}:state`, key).catch(() => null);
      return text === null ? undefined : (JSON.parse(text) as unknown);
    },
    async write(key, document) {
      await local.write(key, document);
      dirty.add(key);
      flush.wake();
    },
    deliver(source) {
      const delivery = createDelivery({ redis, stream: `${space}:decisions`, source, ready, troubles, log });
      onHeld.push(() => delivery.reconnected());
      onClose.push(() => delivery.close());
      delivery.wake();
      return delivery;
    },
    onCommand(handler) {
      const listener = connect();
      // The other connection tells.
      listener.on("error", () => undefined);
      listener.connect().catch(() => undefined);
      const stream = `${space}:commands`;
      const stop = readCommands({ redis: listener, stream, cursorFile, handler, ready, troubles, log });
      onClose.push(stop);
      return stop;
    },
    get trouble() {
      return [local.trouble, troubles.text].filter((part) => part !== undefined).join("; ") || undefined;
    },
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(renewal);
      for (const end of onClose) await end();
      if (redis.status === "ready") await withTimeout(lock.release(), connectMs).catch(() => undefined);
      redis.disconnect();
      await local.close();
    },
  };
}

function withTimeout<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
