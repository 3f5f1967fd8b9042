import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openDecisionLog, type DecisionLog } from "../../src/audit/log/decision-log.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog, type Log } from "../../src/core/log.ts";
import { openRedisStore } from "../../src/store/redis-store.ts";
import type { Store, StoreCommand } from "../../src/store/store.ts";
import { RedisServer, redisMissing } from "./_redis-server.ts";

const server = new RedisServer();
beforeAll(async () => {
  if (redisMissing !== undefined) return;
  await server.prepare();
  await server.start();
});
afterAll(() => server.kill());

const patience = { timeout: 20_000 };

describe.skipIf(redisMissing)("redis store beyond the contract", () => {
  let path: string;
  let redis: Redis;
  let open: { close(): Promise<void> }[];
  let warnings: string[];
  const log: Log = {
    ...silentLog,
    warn: (fields, message) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
  };

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "crosscheck-redis-store-"));
    redis = new Redis(server.url, { maxRetriesPerRequest: null });
    redis.on("error", () => undefined);
    await redis.flushall();
    open = [];
    warnings = [];
  });
  afterEach(async () => {
    for (const each of open.toReversed()) await each.close();
    redis.disconnect();
    await rm(path, { recursive: true, force: true });
  });

  async function openStore(leaseMs?: number): Promise<Store> {
    const store = await openRedisStore({ url: server.url, path, log, ...(leaseMs ? { leaseMs } : {}) });
    open.push(store);
    return store;
  }

  /** A store with the decision log that it delivers. */
  async function openBoth(): Promise<{ store: Store; decisions: DecisionLog }> {
    const store = await openStore();
    const decisions = await openDecisionLog({
      directory: join(path, "log"),
      repository: "/r",
      clock: systemClock,
      onAppend: () => delivery.wake(),
    });
    open.push(decisions);
    const delivery = store.deliver(decisions);
    return { store, decisions };
  }

  async function append(decisions: DecisionLog, ...names: string[]): Promise<void> {
    for (const to of names)
      await decisions.append({
        type: "switch",
        model: "m",
        from: "a",
        to,
        trigger: "manual",
        actor: "t",
        reason: "r",
      });
  }

  async function closeAll(): Promise<void> {
    for (const each of open.splice(0).toReversed()) await each.close();
  }

  async function keyOf(kind: string): Promise<string> {
    const lock = await redis.keys(`crosscheck:${hostname()}:*:lock`);
    expect(lock.length).toBe(1);
    return (lock[0] as string).replace(/lock$/, kind);
  }

  /** Where the entries of a stream lead, by their ids. */
  async function delivered(stream: string): Promise<string[]> {
    const entries = await redis.xrange(stream, "-", "+");
    return entries.map(([id, fields]) => `${id} ${(JSON.parse(fields[1] as string) as { to: string }).to}`);
  }

  function take(store: Store): StoreCommand[] {
    const seen: StoreCommand[] = [];
    store.onCommand((command) => {
      seen.push(command);
      return Promise.resolve();
    });
    return seen;
  }

  function command(stream: string, reason: string, id = "*"): Promise<unknown> {
    return redis.xadd(stream, id, "type", "switch", "model", "m", "engine", "e", "reason", reason);
  }

  test("decisions arrive once and in order, though the server is killed again and again", async () => {
    const { store, decisions } = await openBoth();
    let written = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) {
        await append(decisions, `b${written++}`);
        await store.write("m", { written });
        if (i === 7) await server.kill();
        if (i === 14) await server.start();
      }
    }
    const all = Array.from({ length: 60 }, (_, i) => `${i + 1}-0 b${i}`);
    const held = async () => (await redis.keys("*:lock")).length;
    await expect.poll(held, patience).toBe(1);
    await expect.poll(async () => delivered(await keyOf("decisions")), patience).toEqual(all);
    await expect.poll(async () => redis.hget(await keyOf("state"), "m"), patience).toBe('{"written":60}');
  });

  test("starts and works while Redis is away, and says so", async () => {
    await server.kill();
    const store = await openStore();
    expect(store.trouble).toMatch(/Redis is away: .*(ECONNREFUSED|closed|lost)/);
    await store.write("k", { n: 1 });
    expect(await store.read("k")).toEqual({ n: 1 });
    await server.start();
    await expect.poll(() => store.trouble, patience).toBeUndefined();
    await expect.poll(async () => redis.hget(await keyOf("state"), "k"), patience).toBe('{"n":1}');
    // One line when it went, none for each try.
    expect(warnings.length).toBe(1);
  });

  test("state written while Redis was away arrives, though the gateway ended in between", async () => {
    const first = await openStore();
    await first.write("k", { n: 1 });
    await expect.poll(async () => redis.hget(await keyOf("state"), "k"), patience).toBe('{"n":1}');
    await server.kill();
    await first.write("k", { n: 2 });
    await closeAll();
    await server.start();
    await openStore();
    await expect.poll(async () => redis.hget(await keyOf("state"), "k"), patience).toBe('{"n":2}');
  });

  test("what Redis refused once is tried again, though nothing new is written", async () => {
    const { store, decisions } = await openBoth();
    await redis.config("SET", "maxmemory", "1");
    await store.write("k", { n: 2 });
    await append(decisions, "b");
    await expect.poll(() => store.trouble, patience).toMatch(/state is not written.*OOM/);
    await expect.poll(() => store.trouble, patience).toMatch(/decisions are not delivered.*OOM/);
    await redis.config("SET", "maxmemory", "0");
    await expect.poll(async () => redis.hget(await keyOf("state"), "k"), patience).toBe('{"n":2}');
    await expect.poll(async () => delivered(await keyOf("decisions")), patience).toEqual(["1-0 b"]);
    await expect.poll(() => store.trouble, patience).toBeUndefined();
  });

  test("a log begun anew while Redis was away has a stream of its own", async () => {
    const before = await openBoth();
    await append(before.decisions, "old1", "old2", "old3");
    const stream = await keyOf("decisions");
    await expect.poll(() => delivered(stream), patience).toHaveLength(3);
    await closeAll();
    await rm(join(path, "log"), { recursive: true });
    const anew = await openDecisionLog({
      directory: join(path, "log"),
      repository: "/r",
      clock: systemClock,
    });
    await append(anew, "new1", "new2", "new3", "new4");
    await anew.close();
    await openBoth();
    await expect
      .poll(() => delivered(stream), patience)
      .toEqual(["1-0 new1", "2-0 new2", "3-0 new3", "4-0 new4"]);
    const [aside = ""] = await redis.keys(`${stream}:until-*`);
    expect(await delivered(aside)).toEqual(["1-0 old1", "2-0 old2", "3-0 old3"]);
    expect(warnings.join()).toMatch(/begun anew/);
  });

  test("decisions that can no longer be delivered are named", async () => {
    const store = await openStore();
    const asked: number[] = [];
    const entries = [11_991, 11_992].map((seq) => ({ seq, to: "b", hash: "0".repeat(64) }));
    const delivery = store.deliver({
      lastSeq: 11_992,
      read(after) {
        asked.push(after);
        return Promise.resolve({ entries: entries.filter(({ seq }) => seq > after) });
      },
    });
    await expect.poll(async () => delivered(await keyOf("decisions")), patience).toHaveLength(2);
    expect(asked[0]).toBe(1992);
    expect(store.trouble).toMatch(/decisions 1 to 11990 are not in the Redis stream/);
    expect(warnings.join()).toMatch(/decisions 1 to 11990/);
    delivery.wake();
  });

  describe("two devices", () => {
    test("of one image, with host name and path in common, do not share a space", async () => {
      await openStore();
      const first = await keyOf("state");
      await closeAll();
      await rm(path, { recursive: true });
      await openStore();
      expect(await keyOf("state")).not.toBe(first);
    });

    test("of one id: the second writes nothing, takes no commands, says so, and leaves the lock alone", async () => {
      await openStore();
      const lock = await keyOf("lock");
      await closeAll();
      await redis.set(lock, "elsewhere:id:boot");
      const { store, decisions } = await openBoth();
      const seen = take(store);
      expect(store.trouble).toMatch(
        /gateway "elsewhere:id:boot" uses the Redis store .*id" if this device is a copy/,
      );
      await store.write("k", { n: 1 });
      await append(decisions, "b");
      await command(await keyOf("commands"), "for the other");
      await new Promise((resolve) => setTimeout(resolve, 1000));
      expect(await redis.exists(await keyOf("state"), await keyOf("decisions"))).toBe(0);
      expect(seen).toEqual([]);
      await closeAll();
      expect(await redis.get(lock)).toBe("elsewhere:id:boot");
    });

    test("a lock that is lost stops writing; had again, everything is written", async () => {
      const store = await openStore(300);
      await store.write("k", { n: 1 });
      const [lock, state] = [await keyOf("lock"), await keyOf("state")];
      await expect.poll(() => redis.hget(state, "k"), patience).toBe('{"n":1}');
      await redis.set(lock, "elsewhere");
      await expect.poll(() => store.trouble, patience).toMatch(/"elsewhere" uses/);
      await store.write("k", { n: 2 });
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(await redis.hget(state, "k")).toBe('{"n":1}');
      await redis.del(lock);
      await expect.poll(() => redis.hget(state, "k"), patience).toBe('{"n":2}');
      expect(store.trouble).toBeUndefined();
    });

    test("a lock left by a killed gateway of this device is taken over at once", async () => {
      await openStore();
      const lock = await keyOf("lock");
      const owner = (await redis.get(lock)) as string;
      await closeAll();
      await redis.set(lock, owner, "PX", 30_000);
      expect((await openStore()).trouble).toBeUndefined();
    });
  });

  describe("commands", () => {
    test("from elsewhere are taken, each once, also by the next gateway; what is not understood is told", async () => {
      const first = await openStore();
      const seen = take(first);
      const stream = await keyOf("commands");
      await redis.xadd(stream, "*", "type", "dance", "model", "m");
      await command(stream, "up");
      await expect
        .poll(() => seen, patience)
        .toMatchObject([{ type: "switch", model: "m", engine: "e", reason: "up" }]);
      expect(warnings.join()).toMatch(/not understood/);
      await closeAll();
      await command(stream, "while down");
      const second = take(await openStore());
      await expect.poll(() => second.map(({ reason }) => reason), patience).toEqual(["while down"]);
      await closeAll();
      const third = take(await openStore());
      await command(stream, "later");
      await expect.poll(() => third.map(({ reason }) => reason), patience).toEqual(["later"]);
    });

    test("given before the first look wait for it, those of more than an hour ago are dropped with a warning", async () => {
      const store = await openStore();
      const stream = await keyOf("commands");
      await command(stream, "stale", `${Date.now() - 2 * 3_600_000}-0`);
      await command(stream, "fresh");
      const seen = take(store);
      await expect.poll(() => seen.map(({ reason }) => reason), patience).toEqual(["fresh"]);
      expect(warnings.join()).toMatch(/too old.*"stale"/);
    });

    test("are not carried out when it cannot be remembered that they were", async () => {
      const store = await openStore();
      const stream = await keyOf("commands");
      const seen = take(store);
      await command(stream, "first");
      await expect.poll(() => seen.length, patience).toBe(1);
      // A folder in its place: nothing can be renamed onto it.
      await rm(join(path, "last-command"));
      await mkdir(join(path, "last-command", "x"), { recursive: true });
      await command(stream, "wait");
      await expect.poll(() => store.trouble, patience).toMatch(/commands are not taken/);
      expect(seen.length).toBe(1);
      await rm(join(path, "last-command"), { recursive: true });
      await expect.poll(() => seen.length, patience).toBe(2);
    });

    test("of a device that took over an id: only those given from now on", async () => {
      await openStore();
      const stream = await keyOf("commands");
      const id = await readFile(join(path, "id"), "utf8");
      await closeAll();
      await command(stream, "for the old one");
      await rm(path, { recursive: true });
      path = await mkdtemp(join(tmpdir(), "crosscheck-redis-store-"));
      await writeFile(join(path, "id"), `${id}\n`);
      const seen = take(await openStore());
      await expect
        .poll(() => readFile(join(path, "last-command"), "utf8").catch(() => ""), patience)
        .toMatch(/-/);
      await command(stream, "for the new one");
      await expect.poll(() => seen.map(({ reason }) => reason), patience).toEqual(["for the new one"]);
    });
  });
});
