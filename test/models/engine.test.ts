import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { Engine, EngineRetiredError, type EnginePool, type EngineState } from "../../src/models/engine.ts";

const info = {
  runtime: { name: "x", version: "1" },
  device: { kind: "cpu", name: "x" },
  inputs: [{ name: "x", datatype: "FP32" as const, shape: [1] }],
  outputs: [],
};

function open(admit: () => Promise<void> = async () => {}) {
  const pools = { started: 0, closed: 0 };
  const result = { outputs: [], engineSeconds: 0, deviceSeconds: 0, queueSeconds: 0, hostSeconds: 0 };
  const pool: EnginePool = {
    start: async () => {
      pools.started += 1;
      return info;
    },
    close: async () => void (pools.closed += 1),
    infer: async () => ({ ...result, instance: 0 }),
    residentBytes: () => 0,
    healthy: 1,
    pending: 0,
    processes: [],
    failure: undefined,
  };
  const states: EngineState[] = [];
  const engine = new Engine({
    folder: { id: "e", directory: "/nowhere", manifest: { model: "m" } } as never,
    openPool: () => pool,
    admit,
    onChange: ({ state }) => void states.push(state),
    onColdStart: () => {},
    clock: systemClock,
  });
  return { engine, pools, states };
}

test("a load is told of when it begins and when it has ended", async () => {
  const { engine, states } = open();
  await engine.load();
  expect(states).toEqual(["loading", "ready"]);
});

test("an engine that was only unloaded gets its shadow again", async () => {
  const { engine, pools } = open();
  await engine.shadow();
  await engine.unload();
  await engine.shadow();
  expect(pools).toEqual({ started: 2, closed: 1 });
});

test.each([
  ["serving", (engine: Engine) => engine.load()],
  ["shadow", (engine: Engine) => engine.shadow()],
])("a retired engine starts no %s host any more, and closes one that is being started", async (_, start) => {
  const { engine, pools } = open();
  const starting = start(engine);
  await engine.retire();
  await starting.catch(() => undefined);
  await expect(start(engine)).rejects.toThrow(EngineRetiredError);
  expect(engine.resident).toBe(false);
  expect(pools.closed).toBeGreaterThanOrEqual(pools.started);
});

test("one that is retired while it waits for memory starts no host", async () => {
  let admitted = () => {};
  const admission = new Promise<void>((resolve) => (admitted = resolve));
  const { engine, pools } = open(() => admission);
  const starting = engine.load();
  const retired = engine.retire();
  admitted();
  await expect(starting).rejects.toThrow(EngineRetiredError);
  await retired;
  expect(pools.started).toBe(0);
});
