import { describe, expect, test } from "vitest";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError } from "../../src/core/engine.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Engine } from "../../src/models/engine.ts";
import type { Model } from "../../src/models/model.ts";
import { FairQueue } from "../../src/shadow/fair-queue.ts";
import { createShadow } from "../../src/shadow/shadow.ts";

const runs = { outputs: [], engineSeconds: 0, queueSeconds: 0 };

function engineOf(
  id: string,
  infer: () => Promise<unknown> = () => Promise.resolve(runs),
): Engine & {
  started: number;
} {
  const runner = { infer };
  const engine = {
    id,
    started: 0,
    quarantined: false,
    manifest: { model: "m" },
    shadow: () => {
      engine.started++;
      return Promise.resolve(runner);
    },
    shadowLoaded: true,
  };
  return engine as unknown as Engine & { started: number };
}

function modelOf(active: Engine, candidates: Engine[], state = "ready"): Model {
  const config = { shadow: { sampleRate: 1, maxQueue: 4, maxUtilization: 1 } };
  return { name: "m", state, active, candidates, config } as unknown as Model;
}

function open() {
  const results: string[][] = [];
  const dropped: string[] = [];
  const prepared: string[] = [];
  const shadow = createShadow({
    gate: { wait: () => Promise.resolve(true), close: () => {} },
    load: new LiveLoadCounter(),
    onResult: (result) => {
      results.push(result.runs.map(({ engine }) => engine.id));
    },
    onPrepared: (_model, { id }) => Promise.resolve(void prepared.push(id)),
    onDropped: (_model, reason) => dropped.push(reason),
    random: () => 0,
    clock: systemClock,
    log: silentLog,
  });
  type Offered = Parameters<typeof shadow.offer>[0];
  const offer = (model: Model) =>
    shadow.offer({
      id: "r",
      model,
      engine: model.active,
      inputs: [],
      outputs: [],
      pinned: false,
    } as unknown as Offered);
  return { shadow, offer, results, dropped, prepared };
}

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

  test("a shadow instance is told of once, however often its model changes", async () => {
    const { shadow, prepared } = open();
    const again = engineOf("again");
    const model = modelOf(engineOf("active"), [again]);
    shadow.prepare(model);
    shadow.prepare(model);
    await expect.poll(() => prepared).toEqual(["active", "again"]);
    shadow.prepare(model);
    // Unloaded and started anew.
    const anew = engineOf("again");
    Object.assign(again, { shadow: () => anew.shadow() });
    shadow.prepare(model);
    await expect.poll(() => prepared.length).toBe(3);
    await shadow.close();
    expect(prepared).toEqual(["active", "again", "again"]);
  });
});

test("a fair queue: keys in turn, a full one refused, the others not touched", () => {
  const queue = new FairQueue<string>();
  expect(["a1", "a2", "a3"].map((item) => queue.push("a", item, 2))).toEqual([true, true, false]);
  expect(queue.push("b", "b1", 2)).toBe(true);
  expect(queue.length).toBe(3);
  expect([queue.shift(), queue.shift(), queue.shift(), queue.shift()]).toEqual(["a1", "b1", "a2", undefined]);
});
