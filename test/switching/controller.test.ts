import { expect, test } from "vitest";
import type { Decision, LogEntry } from "../../src/audit/log/entry.ts";
import type { DecisionLog } from "../../src/audit/log/decision-log.ts";
import { silentLog } from "../../src/core/log.ts";
import { createTurns } from "../../src/core/turns.ts";
import { EngineRetiredError, type Engine } from "../../src/models/engine.ts";
import { type ModelConfig, policySchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import type { Store } from "../../src/store/store.ts";
import { createController, type Controller } from "../../src/switching/controller.ts";
import type { RuleVerdict } from "../../src/switching/decide.ts";

/** A stand-in whose settings tests change. */
class StubEngine {
  readonly id: string;
  readonly manifest: object;
  serving = true;
  rolledBack = false;
  #quarantined: string | undefined;

  constructor(id: string, sha256 = id) {
    this.id = id;
    this.manifest = { artifact: { sha256 }, compiler: { name: "onnxruntime" }, precision: "fp32" };
  }

  get quarantined(): boolean {
    return this.#quarantined !== undefined;
  }

  get canTakeOver(): boolean {
    return !this.quarantined && !this.rolledBack;
  }

  quarantine(reason: string | undefined): void {
    this.#quarantined = reason;
  }

  ready = (): Promise<void> => Promise.resolve();

  unload(): Promise<void> {
    return Promise.resolve();
  }
}

const looks = { mode: "automatic", interval: 1, initialDelaySeconds: 0, minSamples: 1 } as const;

function modelOf(engines: readonly StubEngine[], active?: StubEngine, policy: object = {}): Model {
  const model = new Model({
    name: "m",
    directory: "",
    config: {
      policy: policySchema.parse({ ...looks, ...policy }),
      reference: "a",
      shadow: { sampleRate: 1 },
    } as ModelConfig,
    engines: new Map(engines.map((engine) => [engine.id, engine as unknown as Engine])),
    broken: new Map(),
  });
  if (active) model.activate(active as unknown as Engine);
  model.state = "ready";
  return model;
}

type Outcome = RuleVerdict["verdict"];

interface BenchOptions {
  readonly rule?: string;
  /** The model's state as the run before left it. */
  readonly stored?: unknown;
}

class Bench {
  readonly controller: Controller;
  readonly log: Decision[] = [];
  readonly errors: object[] = [];
  model: Model;
  /** By engine; what is not said passes. */
  verdicts: Readonly<Record<string, Outcome>> = {};
  changes = 0;
  stored: unknown;
  /** Both clocks go on with each look; tests set the second. */
  seconds = 0;
  wallMs = Date.parse("2030-01-01");

  constructor(model: Model, { rule = "flipRatio", stored }: BenchOptions = {}) {
    this.model = model;
    const verdicts = (_: Model, { id }: Engine) => [
      { rule, verdict: this.verdicts[id] ?? ("pass" as const), have: 100 },
    ];
    this.controller = createController({
      models: {
        get: () => this.model,
        find: () => this.model,
        list: () => [this.model],
        wake: () => Promise.reject(),
      },
      decisions: {
        append: (decision: Decision) => {
          const seq = this.log.push(decision);
          const time = new Date(this.wallMs).toISOString();
          return Promise.resolve({ ...decision, seq, time, hash: `of ${seq}`, repository: "" } as LogEntry);
        },
        tail: () => [],
      } as unknown as DecisionLog,
      store: {
        read: () => Promise.resolve(stored),
        write: (_: string, document: unknown) => Promise.resolve(void (this.stored = document)),
      } as unknown as Store,
      keyPrefix: "",
      repository: "",
      evidence: {
        verdicts,
        judge: (model, engine) => Promise.resolve(verdicts(model, engine)),
        lastVerdicts: verdicts,
        restart: () => {},
      },
      turns: createTurns(),
      onSwitched: () => {},
      onChanged: () => (this.changes += 1),
      random: () => 0,
      clock: { seconds: () => this.seconds, now: () => new Date(this.wallMs) },
      log: { ...silentLog, error: (fields) => void this.errors.push(fields) },
    });
  }

  /** As a load does, with this engine active. */
  async load(model: Model, active?: StubEngine): Promise<void> {
    await this.controller.recall(model);
    if (active) model.activate(active as unknown as Engine);
    this.model = model;
    this.controller.adopt(model);
  }

  async look(times = 1): Promise<void> {
    for (let at = 0; at < times; at += 1) {
      this.seconds += 2;
      this.wallMs += 2000;
      await this.controller.check();
    }
  }

  get states(): Record<string, string> {
    return Object.fromEntries(
      [...this.model.engines.keys()].map((id) => [id, this.controller.stateOf("m", id)]),
    );
  }

  get types(): string[] {
    return this.log.map(({ type }) => type);
  }
}

async function open(model: Model, options: BenchOptions = {}): Promise<Bench> {
  const bench = new Bench(model, options);
  await bench.load(model);
  return bench;
}

test("a canary that cannot be loaded again because the gateway ends is not held for it", async () => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const bench = await open(modelOf([a, b], a));
  await bench.look(3);
  expect(bench.states["b"]).toBe("canary");
  const before = bench.types;
  Object.assign(b, { serving: false, ready: () => Promise.reject(new EngineRetiredError("b")) });
  await bench.look(2);
  await bench.controller.close();
  expect(bench.types).toEqual(before);
  expect(bench.errors).toEqual([]);
});

test("an active engine that a reload could not load is a candidate when it can be again", async () => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const policy = { watchSeconds: 1, cooldownSeconds: 0 };
  const bench = await open(modelOf([a, b], a, policy));
  bench.verdicts = { b: "inconclusive" };
  await bench.look(2);
  expect(bench.states).toEqual({ a: "settled", b: "observing" });
  await bench.load(modelOf([new StubEngine("a", "corrupt"), b], undefined, policy), b);
  expect(bench.states).toEqual({ a: "observing", b: "settled" });
  await bench.load(modelOf([new StubEngine("a", "rebuilt"), b], undefined, policy), b);
  await bench.look(3);
  expect(bench.states).toEqual({ a: "canary", b: "settled" });
  await bench.controller.close();
});

test("a canary that a reload makes active, as no other could be loaded, is no canary any more", async () => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const bench = await open(modelOf([a, b], a));
  await bench.look(3);
  expect(bench.states).toEqual({ a: "settled", b: "canary" });
  await bench.load(modelOf([new StubEngine("a", "corrupt"), b]), b);
  expect(bench.states).toEqual({ a: "observing", b: "settled" });
  expect(bench.controller.chooseCanary(bench.model)).toBeUndefined();
  expect([...bench.controller.shares(bench.model)]).toEqual([["b", 1]]);
  expect(bench.log.at(-1)).toMatchObject({
    type: "hold",
    from: "b",
    states: { b: { from: "canary", to: "settled" } },
    reason: expect.stringContaining("it is active"),
  });
  await bench.controller.close();
});

test("a reload in which no engine loads leaves a quarantined one taken out, and the others are looked at", async () => {
  const [a, b, c] = [new StubEngine("a"), new StubEngine("b"), new StubEngine("c")];
  const bench = await open(modelOf([a, b, c], a));
  bench.verdicts = { b: "fail", c: "inconclusive" };
  await bench.look(5);
  expect(bench.states).toEqual({ a: "settled", b: "quarantined", c: "observing" });
  // Its engines are recalled before they are loaded, which fails; the model before goes on.
  await bench.controller.recall(
    modelOf([new StubEngine("a", "x"), new StubEngine("b", "y"), new StubEngine("c", "z")]),
  );
  bench.verdicts = { b: "fail" };
  bench.changes = 0;
  await bench.look(3);
  expect(bench.states).toEqual({ a: "settled", b: "quarantined", c: "canary" });
  expect(bench.changes).toBe(2);
  await bench.controller.close();
});

test("a reference that fails as a canary, and passes in the shadow, is one ever more seldom", async () => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const bench = await open(modelOf([a, b], b, { cooldownSeconds: 100 }), { rule: "deadlineMissRatio" });
  const canaryAt: number[] = [];
  while (bench.seconds < 1000) {
    bench.verdicts = { a: bench.states["a"] === "canary" ? "fail" : "pass" };
    const before = bench.states["a"];
    await bench.look();
    if (before !== "canary" && bench.states["a"] === "canary") canaryAt.push(bench.seconds);
  }
  const gaps = canaryAt.slice(1).map((at, i) => at - (canaryAt[i] as number));
  expect(gaps).toHaveLength(3);
  for (const [i, gap] of gaps.entries()) {
    expect(gap).toBeGreaterThanOrEqual(100 * 2 ** i);
    expect(gap).toBeLessThan(100 * 2 ** i + 20);
  }
  await bench.controller.close();
});

test.each([
  ["forward by a day", 86_400_000],
  ["back by three years", -3 * 365 * 86_400_000],
])("a person's switch is held for the cooldown, though the clock is set %s", async (_, stepMs) => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const bench = await open(modelOf([a, b], b, { cooldownSeconds: 300 }));
  await bench.controller.switch("m", "a", "I want a", "me");
  bench.verdicts = { a: "fail" };
  bench.wallMs += stepMs;
  await bench.look(149);
  expect(bench.types).toEqual(["switch"]);
  await bench.look(5);
  expect(bench.types).toEqual(["switch", "rollback", "quarantine"]);
  await bench.controller.close();
});

test("what was advised is done once the policy is automatic", async () => {
  const [a, b, c] = [new StubEngine("a"), new StubEngine("b"), new StubEngine("c")];
  const bench = await open(modelOf([a, b, c], b, { mode: "advise" }));
  bench.verdicts = { b: "fail", c: "fail" };
  await bench.look(5);
  expect(bench.types.filter((type) => type !== "advice")).toEqual([]);
  await bench.load(modelOf([a, b, c]), b);
  await bench.look(3);
  expect(bench.model.active?.id).toBe("a");
  expect(bench.states).toEqual({ a: "settled", b: "quarantined", c: "quarantined" });
  expect(bench.log.find(({ type }) => type === "rollback")?.states).toEqual({
    a: { from: "eligible", to: "settled" },
    b: { from: "settled", to: "rolledBack" },
  });
  await bench.controller.close();
});

test("two engines that are alike do not take turns", async () => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const policy = { cooldownSeconds: 1, watchSeconds: 1, canary: { steps: [50] } };
  const bench = await open(modelOf([a, b], a, policy));
  const serve = async () => {
    bench.controller.canaryServed(bench.model, b as unknown as Engine);
    bench.controller.canaryServed(bench.model, a as unknown as Engine);
    await bench.look();
  };
  for (let at = 0; at < 100; at += 1) await serve();
  expect(bench.types.filter((type) => type === "switch")).toHaveLength(1);
  expect(bench.states).toEqual({ a: "eligible", b: "settled" });
  // Built again it is another engine.
  await bench.load(modelOf([new StubEngine("a", "rebuilt"), b], undefined, policy), b);
  for (let at = 0; at < 100; at += 1) await serve();
  expect(bench.types.filter((type) => type === "switch")).toHaveLength(2);
  expect(bench.states).toEqual({ a: "settled", b: "eligible" });
  await bench.controller.close();
});

test("engines that are alike do not take turns over restarts either", async () => {
  const engines = ["a", "b", "c"].map((id) => new StubEngine(id));
  const policy = { cooldownSeconds: 1, watchSeconds: 1, canary: { steps: [50] } };
  let stored: unknown;
  let active = engines[0];
  const switches: number[] = [];
  for (let start = 0; start < 3; start += 1) {
    const bench = await open(modelOf(engines, active, policy), { stored });
    for (let at = 0; at < 100; at += 1) {
      for (const engine of engines) bench.controller.canaryServed(bench.model, engine as unknown as Engine);
      await bench.look();
    }
    switches.push(bench.types.filter((type) => type === "switch").length);
    active = engines.find(({ id }) => id === bench.model.active?.id);
    await bench.controller.close();
    stored = bench.stored ?? stored;
  }
  expect(switches).toEqual([2, 0, 0]);
});

test("without a cooldown a held canary waits ever longer too", async () => {
  const [a, b] = [new StubEngine("a"), new StubEngine("b")];
  const bench = await open(modelOf([a, b], b, { cooldownSeconds: 0 }), { rule: "deadlineMissRatio" });
  let canaries = 0;
  while (bench.seconds < 3000) {
    bench.verdicts = { a: bench.states["a"] === "canary" ? "fail" : "pass" };
    const before = bench.states["a"];
    await bench.look();
    if (before !== "canary" && bench.states["a"] === "canary") canaries += 1;
  }
  expect(canaries).toBeGreaterThan(8);
  expect(canaries).toBeLessThan(15);
  await bench.controller.close();
});
