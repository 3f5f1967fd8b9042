import { writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { RedisServer, redisMissing } from "../store/_redis-server.ts";
import { newFolder, openScene, writeModel, type Entry, type Scene } from "./_gateway.ts";

const server = new RedisServer();
let redis: Redis;
let scene: Scene | undefined;
beforeAll(async () => {
  if (redisMissing !== undefined) return;
  await server.prepare();
  await server.start();
  redis = new Redis(server.url, { maxRetriesPerRequest: null });
  redis.on("error", () => undefined);
});
afterEach(async () => {
  await scene?.end();
  scene = undefined;
  await redis.flushall();
});
afterAll(async () => {
  redis?.disconnect();
  await server.kill();
});

async function keyOf(kind: string): Promise<string> {
  const [lock = ""] = await redis.keys(`crosscheck:${hostname()}:*:lock`);
  return lock.replace(/lock$/, kind);
}

async function delivered(): Promise<Entry[]> {
  const entries = await redis.xrange(await keyOf("decisions"), "-", "+");
  return entries.map(([, fields]) => JSON.parse(fields[1] as string) as Entry);
}

describe.skipIf(redisMissing)("a gateway of a fleet", () => {
  async function open(folder: string): Promise<Scene> {
    scene = await openScene(folder, {
      store: { kind: "redis", path: `${folder}/var`, url: server.url },
    });
    return scene;
  }

  async function folderOfTwo(): Promise<string> {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    return folder;
  }

  test("Redis killed and restarted under load: no request fails, every decision is delivered once, in order", async () => {
    const at = await open(await folderOfTwo());
    const load = { done: false, answered: 0, errors: [] as unknown[] };
    const clients = Array.from({ length: 4 }, async () => {
      while (!load.done)
        await at.infer("m").then(
          () => load.answered++,
          (error) => load.errors.push(error),
        );
    });
    for (let i = 0; i < 60; i++) {
      if (i % 20 === 5) await server.kill();
      if (i % 20 === 15) await server.start();
      await at.services.switching?.switch("m", i % 2 ? "a" : "b", `switch ${i}`, "test");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    load.done = true;
    await Promise.all(clients);
    expect(load.errors).toEqual([]);
    expect(load.answered).toBeGreaterThan(100);
    await expect.poll(async () => (await delivered()).length).toBe(60);
    expect(await delivered()).toEqual(await at.decisions());
    expect((await delivered()).map(({ seq }) => seq)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  });

  test("obeys commands from elsewhere, also those given while it was down, when its models have started", async () => {
    const folder = await folderOfTwo();
    let at = await open(folder);
    const stream = await keyOf("commands");
    const order = (...fields: string[]) => redis.xadd(stream, "*", "model", "m", "actor", "ops", ...fields);
    await order("type", "switch", "engine", "zzz", "reason", "no such engine");
    await order("type", "switch", "engine", "b", "reason", "from the fleet");
    await expect.poll(() => at.active("m")).toBe("b");
    await order("type", "rollback", "reason", "and back");
    await expect.poll(() => at.active("m")).toBe("a");
    await at.stop();
    await order("type", "switch", "engine", "b", "reason", "while down");
    at = await open(folder);
    await expect.poll(() => at.active("m")).toBe("b");
    const decisions = await at.decisions();
    expect(decisions.map(({ type, reason }) => `${type}: ${reason}`)).toEqual([
      "switch: from the fleet",
      "rollback: and back",
      "switch: while down",
    ]);
    expect(decisions[0]).toMatchObject({ trigger: "manual", actor: "ops" });
  });

  test("ends without waiting for a command whose engine does not come up, and logs no decision", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: { fault: "loadsOnce" } }, { shadow: { sampleRate: 0 } });
    await writeFile(join(folder, "models/m/engines/b/loaded"), "");
    const at = await open(folder);
    const fields = ["model", "m", "type", "switch", "engine", "b", "reason", "from the fleet"];
    await redis.xadd(await keyOf("commands"), "*", ...fields);
    await expect.poll(async () => (await at.engine("m", "b")).state).toBe("loading");
    await at.stop();
    expect(await at.decisions()).toEqual([]);
  }, 20_000);
});
