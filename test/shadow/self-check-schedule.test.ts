import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../../src/core/log.ts";
import type { Engine } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import type { SelfCheck } from "../../src/shadow/self-check.ts";
import { createSelfCheckSchedule } from "../../src/shadow/self-check-schedule.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface Stub {
  shadowLoaded: boolean;
  quarantined: boolean;
  lastUsedSeconds: number;
  unloaded: string[];
}

function engineOf(id: string, shadowLoaded = false): Engine & Stub {
  const engine = {
    id,
    shadowLoaded,
    quarantined: false,
    lastUsedSeconds: 1,
    unloaded: [] as string[],
    manifest: { model: "m", compiler: { name: "stub" } },
    unload: async (role: string) => void engine.unloaded.push(role),
  };
  return engine as unknown as Engine & Stub;
}

function modelOf(engines: readonly Engine[], settings: object = {}): Model {
  const config = modelSchema.parse({ name: "m", ...settings });
  const byId = new Map(engines.map((engine) => [engine.id, engine]));
  const model = new Model({ name: "m", directory: "", config, engines: byId, broken: new Map() });
  model.state = "ready";
  model.activate(engines[0] as Engine);
  return model;
}

function open(model: Model, run?: (engine: Engine) => Promise<SelfCheck[]>, mayBorrow = true) {
  const checked: string[] = [];
  const disagreed: string[] = [];
  let now = model;
  const schedule = createSelfCheckSchedule({
    models: () => [now],
    run: (_model, engine) => {
      checked.push(engine.id);
      return run?.(engine) ?? Promise.resolve([]);
    },
    onDisagreement: async (_model, engine) => void disagreed.push(engine.id),
    mayBorrow,
    periodSeconds: 10,
    log: silentLog,
  });
  return { schedule, checked, disagreed, reload: (to: Model) => void (now = to) };
}

test("every engine with a shadow instance is checked again each period, the others are left alone", async () => {
  const [a, b, c] = [engineOf("a", true), engineOf("b", true), engineOf("c")];
  const { schedule, checked } = open(modelOf([a, b, c]));
  await vi.advanceTimersByTimeAsync(9_000);
  expect(checked).toEqual([]);
  await vi.advanceTimersByTimeAsync(12_000);
  expect(checked).toEqual(["a", "b", "a", "b"]);
  b.quarantined = true;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(checked).toEqual(["a", "b", "a", "b", "a"]);
  await schedule.close();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(checked).toHaveLength(5);
});

test.each([
  ["without candidates", ["a"], {}],
  ["without sampling", ["a", "b"], { shadow: { sampleRate: 0 } }],
])(
  "a model %s: when it is loaded and each period, on an instance that goes again",
  async (_, ids, settings) => {
    const engines = ids.map((id) => engineOf(id));
    const model = modelOf(engines, settings);
    const { schedule, checked } = open(model);
    schedule.loaded(model);
    // A change of anything is told as ready once more.
    schedule.loaded(model);
    await vi.advanceTimersByTimeAsync(0);
    expect(checked).toEqual(["a"]);
    expect(engines[0]?.unloaded).toEqual(["shadow"]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(checked).toEqual(["a", "a"]);
    expect(engines[0]?.unloaded).toEqual(["shadow", "shadow"]);
    await schedule.close();
  },
);

test("closing does not wait for the check of a model that was just loaded", async () => {
  const { schedule, checked } = open(modelOf([engineOf("a")]), () => new Promise(() => {}));
  schedule.loaded(modelOf([engineOf("a")]));
  await schedule.close();
  expect(checked).toEqual(["a"]);
});

test("a model that is shadowed is checked by its shadow, and its instances stay", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")];
  const model = modelOf([a, b]);
  const { schedule, checked } = open(model);
  schedule.loaded(model);
  await vi.advanceTimersByTimeAsync(0);
  expect(checked).toEqual([]);
  await schedule.check(model, a);
  expect(a.unloaded).toEqual([]);
  await schedule.close();
});

test("an instance started for a check stays where a reload meanwhile has the engine shadowed", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")];
  const before = modelOf([a, b], { shadow: { sampleRate: 0 } });
  const ends: (() => void)[] = [];
  const { schedule, reload } = open(before, () => new Promise((resolve) => ends.push(() => resolve([]))));
  const checking = schedule.check(before, a);
  before.state = "unloaded";
  reload(modelOf([a, b]));
  for (const end of ends) end();
  await checking;
  expect(ends).toHaveLength(1);
  expect(a.unloaded).toEqual([]);
  await schedule.close();
});

test("under a memory budget no instance is started for a check; one that is there is checked", async () => {
  const [a, b] = [engineOf("a"), engineOf("b", true)];
  const model = modelOf([a, b], { shadow: { sampleRate: 0 } });
  const { schedule, checked } = open(model, undefined, false);
  schedule.loaded(model);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(checked).toEqual(["b"]);
  expect(a.unloaded).toEqual([]);
  await schedule.close();
});

test("nothing is checked on a model that is not ready", async () => {
  const model = modelOf([engineOf("a", true)]);
  const { schedule, checked } = open(model);
  for (const state of ["idle", "unloaded", "failed"] as const) {
    model.state = state;
    await vi.advanceTimersByTimeAsync(10_000);
    await schedule.check(model, model.active as Engine);
  }
  expect(checked).toEqual([]);
  await schedule.close();
});

test("a check is no use that keeps an idle model loaded", async () => {
  const a = engineOf("a");
  const model = modelOf([a], { idleUnloadSeconds: 15 });
  const { schedule, checked } = open(model, async () => {
    a.lastUsedSeconds += 1;
    return [];
  });
  await vi.advanceTimersByTimeAsync(40_000);
  expect(checked).toEqual(["a"]);
  a.lastUsedSeconds += 1;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(checked).toEqual(["a", "a"]);
  await schedule.close();
});

test("an engine of two minds is handed on; one that cannot be checked is not, and stops no later round", async () => {
  const [a, b] = [engineOf("a", true), engineOf("b", true)];
  const failed: SelfCheck = { check: "twice", passed: false, bitEqual: false, reason: "another decision" };
  const { schedule, checked, disagreed } = open(modelOf([a, b]), (engine) =>
    engine === a ? Promise.reject(new Error("host lost")) : Promise.resolve([failed]),
  );
  await vi.advanceTimersByTimeAsync(21_000);
  expect(checked).toEqual(["a", "b", "a", "b"]);
  expect(disagreed).toEqual(["b", "b"]);
  await schedule.close();
});
