import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ensureSystemPackage } from "../../scripts/system-packages.mjs";
import { openDecisionLog } from "../../src/audit/log/decision-log.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { openFileStore } from "../../src/store/file-store.ts";
import { openRedisStore } from "../../src/store/redis-store.ts";
import type { Store } from "../../src/store/store.ts";

const redisMissing = await ensureSystemPackage({ package: "redis-server", command: "redis-server" });

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "crosscheck-store-"));
});
afterEach(async () => {
  await rm(path, { recursive: true, force: true });
});

/** A real redis-server on a port of its own, that can be killed and come back with its data. */
class RedisServer {
  port = 0;
  #process: ChildProcess | undefined;
  #directory = "";

  async prepare(): Promise<void> {
    this.#directory = await mkdtemp(join(tmpdir(), "crosscheck-redis-"));
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    this.port = (probe.address() as { port: number }).port;
    probe.close();
  }
  async start(): Promise<void> {
    this.#process = spawn(
      "redis-server",
      [
        "--port",
        String(this.port),
        "--bind",
        "127.0.0.1",
        "--dir",
        this.#directory,
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    for await (const chunk of this.#process.stdout ?? [])
      if (String(chunk).includes("Ready to accept")) break;
    this.#process.stdout?.resume();
  }
  async kill(): Promise<void> {
    if (!this.#process) return;
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await gone;
    this.#process = undefined;
  }
  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }
}

const server = new RedisServer();
beforeAll(async () => {
  if (redisMissing !== undefined) return;
  await server.prepare();
  await server.start();
});
afterAll(() => server.kill());

const drivers: [string, string | undefined, (path: string) => Promise<Store>][] = [
  ["file", undefined, (folder) => openFileStore({ path: folder })],
  ["redis", redisMissing, (folder) => openRedisStore({ url: server.url, path: folder, log: silentLog })],
];

describe.each(drivers)("store %s", (_, missing, open) => {
  test.skipIf(missing)("gives back what was written, also after it was opened again", async () => {
    const store = await open(path);
    expect(await store.read("repo/model")).toBeUndefined();
    await store.write("repo/model", { active: "a", n: 1 });
    await store.write("repo/model", { active: "b", n: 2 });
    expect(await store.read("repo/model")).toEqual({ active: "b", n: 2 });
    await store.close();
    const again = await open(path);
    expect(await again.read("repo/model")).toEqual({ active: "b", n: 2 });
    await again.close();
  });

  test.skipIf(missing)("keeps the last of many writes at once", async () => {
    const store = await open(path);
    await Promise.all(Array.from({ length: 100 }, (_unused, n) => store.write("k", { n })));
    expect(await store.read("k")).toEqual({ n: 99 });
    await store.close();
  });

  test.skipIf(missing)("refuses a second writer by name, and lets one in after close", async () => {
    const store = await open(path);
    await expect(open(path)).rejects.toThrow(/another gateway \(process \d+\) uses the store/);
    await store.close();
    await (await open(path)).close();
  });

  test.skipIf(missing)("a lock left by a killed process is no hindrance", async () => {
    const holder = spawn(
      process.execPath,
      [
        "--import",
        "tsx",
        "-e",
        `import("./src/store/file-store.ts").then((m) => m.openFileStore({ path: ${JSON.stringify(path)} })).then(() => { console.log("held"); setInterval(() => {}, 1000); })`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await once(holder.stdout, "data");
    await expect(open(path)).rejects.toThrow(/another gateway/);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await (await open(path)).close();
  });

  test.skipIf(missing)("closing twice is closing once", async () => {
    const store = await open(path);
    await store.close();
    await store.close();
  });
});

describe.skipIf(redisMissing)("redis store beyond the contract", () => {
  async function connect(): Promise<Redis> {
    return new Redis(server.url, { maxRetriesPerRequest: null });
  }

  async function streamOf(redis: Redis, kind: string): Promise<string> {
    const keys = await redis.keys(`crosscheck:${hostname()}:*:${kind}`);
    expect(keys.length).toBe(1);
    return keys[0] as string;
  }

  beforeEach(async () => {
    const redis = await connect();
    await redis.flushall();
    redis.disconnect();
  });

  test("decisions arrive once and in order, though the server is killed again and again", async () => {
    const store = await openRedisStore({ url: server.url, path, log: silentLog });
    const log = await openDecisionLog({
      directory: join(path, "log"),
      repository: "/r",
      clock: systemClock,
      onAppend: () => delivery.wake(),
    });
    const delivery = store.deliver(log);
    let written = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) {
        await log.append({
          type: "switch",
          model: "m",
          from: "a",
          to: `b${written++}`,
          trigger: "manual",
          actor: "t",
          reason: "r",
        });
        await store.write("m", { written });
        if (i === 7) await server.kill();
        if (i === 14) await server.start();
      }
    }
    const redis = await connect();
    await expect
      .poll(async () => redis.xlen(await streamOf(redis, "decisions")), { timeout: 20_000 })
      .toBe(60);
    const entries = await redis.xrange(await streamOf(redis, "decisions"), "-", "+");
    expect(entries.map(([id]) => id)).toEqual(Array.from({ length: 60 }, (_, i) => `${i + 1}-0`));
    expect(JSON.parse(entries[59]?.[1][1] ?? "{}")).toMatchObject({ seq: 60, to: "b59" });
    await expect
      .poll(async () => redis.hget((await streamOf(redis, "decisions")).replace("decisions", "state"), "m"), {
        timeout: 10_000,
      })
      .toBe('{"written":60}');
    redis.disconnect();
    await log.close();
    await store.close();
  });

  test("starts and works while Redis is away, and says so", async () => {
    await server.kill();
    const store = await openRedisStore({ url: server.url, path, log: silentLog });
    expect(store.trouble).toMatch(/ECONNREFUSED|closed|lost/);
    await store.write("k", { n: 1 });
    expect(await store.read("k")).toEqual({ n: 1 });
    await server.start();
    await expect.poll(() => store.trouble, { timeout: 10_000 }).toBeUndefined();
    const redis = await connect();
    await expect.poll(async () => (await redis.keys("*:state")).length, { timeout: 10_000 }).toBe(1);
    redis.disconnect();
    await store.close();
  });

  test("takes commands from elsewhere, each once, and tells of those it does not understand", async () => {
    const store = await openRedisStore({ url: server.url, path, log: silentLog });
    await store.write("k", {});
    const seen: unknown[] = [];
    store.onCommand((command) => {
      seen.push(command);
      return Promise.resolve();
    });
    const redis = await connect();
    await expect.poll(async () => (await redis.keys("*:state")).length, { timeout: 10_000 }).toBe(1);
    const stream = (await streamOf(redis, "state")).replace("state", "commands");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await redis.xadd(stream, "*", "type", "dance", "model", "m");
    await redis.xadd(
      stream,
      "*",
      "type",
      "switch",
      "model",
      "m",
      "engine",
      "e",
      "reason",
      "fleet",
      "actor",
      "ops",
    );
    await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(1);
    expect(seen[0]).toMatchObject({ type: "switch", model: "m", engine: "e", reason: "fleet", actor: "ops" });
    redis.disconnect();
    await store.close();
  });
});
