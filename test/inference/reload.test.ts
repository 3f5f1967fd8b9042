import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError, type EngineResult } from "../../src/core/engine.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { silentLog } from "../../src/core/log.ts";
import { createTurns } from "../../src/core/turns.ts";
import { createInference } from "../../src/inference/inference.ts";
import type { EnginePool } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { createModels } from "../../src/models/models.ts";
import type { Repository } from "../../src/models/repository.ts";

const info = {
  runtime: { name: "x", version: "1" },
  device: { kind: "cpu", name: "x" },
  inputs: [],
  outputs: [],
};
const answer = {
  outputs: [],
  engineSeconds: 0,
  hostSeconds: 0,
  queueSeconds: 0,
  instance: 0,
} as unknown as EngineResult;

/** A pool that starts when it is told to, and whose requests wait for their host to be lost once `holds` is set. */
function createHeldPool() {
  const held = { holds: false, start: () => {}, lose: () => {}, pool: {} as EnginePool };
  let refuse = (_: Error) => {};
  const started = new Promise<void>((resolve, reject) => {
    held.start = resolve;
    refuse = reject;
  });
  held.pool = {
    async start() {
      await started;
      return info;
    },
    async infer() {
      if (!held.holds) return answer;
      await new Promise<void>((resolve) => (held.lose = resolve));
      throw new HostLostError("exited", "exited with 9");
    },
    async close() {
      refuse(new HostLostError("unavailable", "is not wanted any more"));
    },
    residentBytes: () => 0,
    healthy: 1,
    pending: 0,
    processes: [],
    failure: undefined,
  };
  return held;
}

type HeldPool = ReturnType<typeof createHeldPool>;

/** A model that is loaded on demand; `reload` finds other settings each time, so that it replaces every engine. */
async function open() {
  const pools: HeldPool[] = [];
  const folder = { threads: 1, removed: false };
  const repository: Repository = {
    path: "/nowhere",
    names: async () => ["m"],
    async read() {
      if (folder.removed) throw new GatewayError("notFound", "no folder");
      const config = modelSchema.parse({ name: "m", load: "onDemand", threads: folder.threads });
      const engines = ["a", "b"].map((id) => {
        const manifest = { id, model: "m", compiler: { name: "onnxruntime" }, precision: "fp32" } as never;
        return { id, directory: `/nowhere/${id}`, manifest, error: undefined };
      });
      return { name: "m", directory: "/nowhere", config, error: undefined, engines };
    },
  };
  const models = createModels({
    repository,
    openPool: () => {
      const held = createHeldPool();
      pools.push(held);
      return held.pool;
    },
    recall: async () => undefined,
    memoryBudgetBytes: Infinity,
    turns: createTurns(),
    onEvent: () => {},
    clock: systemClock,
    log: silentLog,
  });
  const inference = createInference({
    models,
    limits: { concurrency: 8, queue: 8 },
    chooseCanary: () => undefined,
    onServed: () => {},
    onFailed: () => {},
    onUnanswered: () => {},
    onFailover: () => {},
    clock: systemClock,
    log: silentLog,
  });
  await models.start();
  const infer = async (pinnedEngine?: string) => {
    await inference.describe("m");
    const { engine } = await inference.infer(models.get("m"), {
      id: "r",
      inputs: [],
      outputs: undefined,
      pinnedEngine,
      timeoutMs: undefined,
      receivedSeconds: 0,
    });
    return engine;
  };
  /** The next pool, once it is asked for. */
  const opened = async () => {
    await expect.poll(() => pools.length).toBeGreaterThan(0);
    return pools.shift() as HeldPool;
  };
  const start = async () => {
    const pool = await opened();
    pool.start();
    return pool;
  };
  const reload = () => {
    folder.threads++;
    return models.load("m");
  };
  const active = () => models.get("m").active;
  return { models, infer, folder, opened, start, reload, active };
}

test("a cold start that a reload overtakes is answered by the new engine", async () => {
  const { infer, opened, start, reload, active } = await open();
  const asked = infer();
  await opened();
  const reloading = reload();
  await start();
  await reloading;
  expect(await asked).toBe(active());
});

test("a pinned engine that is replaced while it starts is started again as it is now", async () => {
  const { models, infer, opened, start, reload } = await open();
  const first = infer();
  await start();
  await first;
  const asked = infer("b");
  await opened();
  const reloading = reload();
  await start();
  await reloading;
  await start();
  expect(await asked).toBe(models.get("m").engine("b"));
});

test("a request whose host is lost while a reload waits for it moves to the new engine", async () => {
  const { infer, start, reload, active } = await open();
  const first = infer();
  const before = await start();
  await first;
  before.holds = true;
  const asked = infer();
  const old = active();
  const reloading = reload();
  await start();
  await expect.poll(active).not.toBe(old);
  before.lose();
  await reloading;
  expect(await asked).toBe(active());
});

test("a cold start of a model that is removed meanwhile is told so", async () => {
  const { models, infer, folder, opened } = await open();
  const asked = infer();
  await opened();
  folder.removed = true;
  await expect(models.load("m")).rejects.toMatchObject({ code: "notFound" });
  await expect(asked).rejects.toMatchObject({ code: "notFound" });
});
