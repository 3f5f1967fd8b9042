import { expect } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError, type EngineResult } from "../../src/core/engine.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { silentLog } from "../../src/core/log.ts";
import { createTurns } from "../../src/core/turns.ts";
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
  const held = { holds: false, closed: false, start: () => {}, lose: () => {}, pool: {} as EnginePool };
  let refuse: (error: Error) => void = () => {};
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
      held.closed = true;
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
export async function openModels({ starts = true } = {}) {
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
  if (starts) await models.start();
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
  return { models, folder, opened, start, reload };
}
