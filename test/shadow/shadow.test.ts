import { describe, expect, test } from "vitest";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError } from "../../src/core/engine.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Engine } from "../../src/models/engine.ts";
import type { Model } from "../../src/models/model.ts";
import { FairQueue } from "../../src/shadow/fair-queue.ts";
import { createShadow, type ShadowResult } from "../../src/shadow/shadow.ts";

const runs = { outputs: [], engineSeconds: 0, queueSeconds: 0 };

type Counted = Engine & { started: number; infers: () => Promise<unknown> };

function engineOf(id: string, infers: () => Promise<unknown> = () => Promise.resolve(runs)): Counted {
  const engine = {
    id,
    started: 0,
    infers,
    quarantined: false,
    manifest: { model: "m" },
    shadow: () => {
      engine.started++;
      return Promise.resolve({ infer: () => engine.infers() });
    },
    shadowLoaded: true,
  };
  return engine as unknown as Counted;
}

function modelOf(active: Engine, candidates: Engine[], state = "ready"): Model {
  const config = { shadow: { sampleRate: 1, maxQueue: 4, maxUtilization: 1 } };
  return { name: "m", state, active, candidates, config } as unknown as Model;
}

interface Scene {
  /** Whether each wait of the gate ends in time; default all do. */
  readonly gate?: () => Promise<boolean>;
  readonly random?: () => number;
  readonly onResult?: (result: ShadowResult) => void;
}

function open({ gate = () => Promise.resolve(true), random = () => 0, onResult }: Scene = {}) {
  const results: string[][] = [];
  const dropped: string[] = [];
  const prepared: string[] = [];
  const time = { seconds: 0 };
  const shadow = createShadow({
    gate: { wait: gate, close: () => {} },
    load: new LiveLoadCounter(),
    onResult: (result) => {
      results.push(result.runs.map(({ engine }) => engine.id));
      onResult?.(result);
    },
    onPrepared: (_model, { id }) => Promise.resolve(void prepared.push(id)),
    onDropped: (_model, reason) => dropped.push(reason),
    random,
    clock: { ...systemClock, seconds: () => time.seconds },
    log: silentLog,
  });
  type Offered = Parameters<typeof shadow.offer>[0];
  const offer = (model: Model, change: Partial<Offered> = {}) =>
    shadow.offer({
      id: "r",
      model,
      engine: model.active,
      inputs: [],
      outputs: [],
      pinned: false,
      ...change,
    } as unknown as Offered);
  return { shadow, offer, results, dropped, prepared, time };
}

/** A gate that lets through when it is told to. */
function heldGate() {
  const waiting: ((through: boolean) => void)[] = [];
  return {
    waiting,
    gate: () => new Promise<boolean>((resolve) => waiting.push(resolve)),
    release: () => {
      for (const resolve of waiting.splice(0)) resolve(true);
    },
  };
}

const abc = () => modelOf(engineOf("a"), [engineOf("b"), engineOf("c")]);

describe("shadow", () => {
  test("an engine whose hosts are away does not take the others' turn", async () => {
    const lost = engineOf("lost", () => Promise.reject(new HostLostError("unavailable", "restarting")));
    const { shadow, offer, results, dropped } = open();
    offer(modelOf(engineOf("active"), [lost, engineOf("other")]));
    await expect.poll(() => results.length).toBe(1);
    expect(results[0]?.toSorted((a, b) => a.localeCompare(b))).toEqual(["active", "other"]);
    expect(dropped).toEqual([]);
    await shadow.close();
  });

  test("a model that went idle is not woken by what waited in its shadow", async () => {
    const active = engineOf("active");
    const { shadow, offer, dropped } = open();
    offer(modelOf(active, [engineOf("other")], "idle"));
    await expect.poll(() => dropped).toEqual(["stale"]);
    expect(active.started).toBe(0);
    await shadow.close();
  });

  test.each(["unloaded", "idle"])("a model that is %s in mid-run has no engine started again", async (to) => {
    const model = modelOf(engineOf("a"), [engineOf("b"), engineOf("c")]);
    const engines = [model.active as Counted, ...(model.candidates as Counted[])];
    for (const engine of engines)
      engine.infers = () => {
        Object.assign(model, { state: to });
        return Promise.resolve(runs);
      };
    const { shadow, offer, results, dropped } = open();
    offer(model);
    await expect.poll(() => dropped).toEqual(["stale"]);
    expect(engines.reduce((sum, { started }) => sum + started, 0)).toBe(1);
    expect(results).toEqual([]);
    await shadow.close();
  });

  test("preparing ends when the model is unloaded under it, and leaves quarantined engines alone", async () => {
    const model = modelOf(engineOf("active"), [engineOf("bad"), engineOf("b"), engineOf("c")]);
    Object.assign(model.candidates[0] as object, { quarantined: true });
    const second = model.candidates[1] as unknown as { shadow: () => Promise<unknown> };
    const start = second.shadow;
    second.shadow = () => {
      Object.assign(model, { state: "unloaded" });
      return start();
    };
    const { shadow, prepared } = open();
    shadow.prepare(model);
    await expect.poll(() => prepared).toEqual(["active", "b"]);
    await shadow.close();
    expect(prepared).toEqual(["active", "b"]);
  });
});

describe("what waits", () => {
  test("is bounded by number: what does not fit is counted", async () => {
    const { gate, waiting, release } = heldGate();
    const { shadow, offer, results, dropped } = open({ gate });
    const model = abc();
    offer(model);
    await expect.poll(() => waiting.length).toBe(1);
    for (let i = 0; i < 6; i += 1) offer(model);
    expect(shadow.length).toBe(4);
    expect(dropped).toEqual(["queue_full", "queue_full"]);
    await expect.poll(() => (release(), results.length)).toBe(5);
    await shadow.close();
  });

  test("is bounded by its memory too", async () => {
    const { gate, waiting } = heldGate();
    const { shadow, offer, dropped } = open({ gate });
    const model = abc();
    offer(model);
    await expect.poll(() => waiting.length).toBe(1);
    // 100 MB each, without touching the memory.
    const inputs = [{ name: "x", datatype: "UINT8", shape: [1], data: { byteLength: 100_000_000 } }] as never;
    for (let i = 0; i < 3; i += 1) offer(model, { inputs });
    expect(shadow.length).toBe(2);
    expect(dropped).toEqual(["queue_full"]);
    const closing = shadow.close();
    for (const resolve of waiting.splice(0)) resolve(false);
    await closing;
  });

  test("gives its place to what comes, once it is too old to be run", async () => {
    const { gate, waiting } = heldGate();
    const { shadow, offer, dropped, time } = open({ gate });
    const model = abc();
    offer(model);
    await expect.poll(() => waiting.length).toBe(1);
    for (let i = 0; i < 4; i += 1) offer(model);
    time.seconds += 6;
    offer(model);
    expect(dropped).toEqual(["stale", "stale", "stale", "stale"]);
    expect(shadow.length).toBe(1);
    const closing = shadow.close();
    for (const resolve of waiting.splice(0)) resolve(false);
    await closing;
  });
});

describe("a fair queue", () => {
  test("keys in turn, a full one refused, the others not touched", () => {
    const queue = new FairQueue<string>({ mostBytes: 100 });
    const push = (key: string, item: string) => queue.push(key, item, { most: 2, bytes: 1 });
    expect(["a1", "a2", "a3"].map((item) => push("a", item))).toEqual([true, true, false]);
    expect(push("b", "b1")).toBe(true);
    expect(queue.length).toBe(3);
    expect([queue.shift(), queue.shift(), queue.shift(), queue.shift()]).toEqual([
      "a1",
      "b1",
      "a2",
      undefined,
    ]);
  });

  test("what leaves it, by any way, frees its bytes", () => {
    const queue = new FairQueue<number>({ mostBytes: 10 });
    const fill = () => [1, 2, 3].map((item) => queue.push("a", item, { most: 9, bytes: 5 }));
    expect(fill()).toEqual([true, true, false]);
    expect([queue.shift(), queue.shift()]).toEqual([1, 2]);
    expect(fill()).toEqual([true, true, false]);
    expect(queue.shed((item) => item < 3)).toEqual([1, 2]);
    expect(queue.length).toBe(0);
    expect(fill()).toEqual([true, true, false]);
    queue.clear();
    expect(fill()).toEqual([true, true, false]);
  });
});
