import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { mostStreams, type StreamsOptions } from "../../src/audit/offline/streams.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import type { EngineResult } from "../../src/core/engine.ts";

/** An event loop in a time of its own: turns take a twentieth of a millisecond, timers wake a millisecond late. */
const realImmediate = setImmediate;
let now: number;
let turnMs: number;
let tasks: { at: number; run: () => void }[];

function at(moment: number, run: () => void): void {
  const place = tasks.findLastIndex((task) => task.at <= moment);
  tasks.splice(place + 1, 0, { at: moment, run });
}

async function runUntil(settled: Promise<unknown>): Promise<void> {
  const state = { done: false };
  void settled.catch(() => undefined).then(() => (state.done = true));
  while (!state.done) {
    const task = tasks.shift();
    now = Math.max(now, task?.at ?? now);
    task?.run();
    await new Promise((resolve) => realImmediate(resolve));
  }
}

beforeEach(() => {
  [now, turnMs, tasks] = [0, 0.05, []];
  vi.stubGlobal("setTimeout", (run: () => void, ms: number) => at(now + ms + 1, run));
  vi.stubGlobal("setImmediate", (run: () => void) => at(now + turnMs, run));
});
afterEach(() => vi.unstubAllGlobals());

/** Answers one request after another, each in so many milliseconds. */
function serial(milliseconds: number, fails: (request: number) => boolean = () => false) {
  let free = 0;
  let requests = 0;
  return {
    get requests() {
      return requests;
    },
    async infer(): Promise<EngineResult> {
      requests += 1;
      const failed = fails(requests);
      free = Math.max(free, now) + milliseconds;
      await new Promise<void>((resolve) => at(free, resolve));
      if (failed) throw new Error("failed");
      return { outputs: [], engineSeconds: milliseconds / 1000, marks: {} } as unknown as EngineResult;
    },
  };
}

async function found(runner: ReturnType<typeof serial>, change: Partial<StreamsOptions> = {}) {
  const pending = mostStreams(runner, {
    periodSeconds: 0.02,
    targetMissRatio: 0.01,
    limitSeconds: 1000,
    inputs: [{ id: "0", set: "given", label: null, tensors: [] }],
    random: createRandom(1),
    clock: { seconds: () => now / 1000, now: () => new Date(now) },
    ...change,
  });
  await runUntil(pending);
  return pending;
}

describe("the most streams", () => {
  it("are as many as one engine answers in a period", async () => {
    const streams = await found(serial(3));
    // 6 x 3 ms fit into 20 ms, 7 do not.
    expect(streams).toMatchObject({
      periodSeconds: 0.02,
      targetMissRatio: 0.01,
      held: { streams: 6, requests: 1200, misses: 0 },
      notHeld: { streams: 7 },
      unknownReason: null,
    });
    expect(streams.held?.missUpperBoundRatio).toBeCloseTo(1 - 0.05 ** (1 / 1200), 10);
    expect(streams.notHeld?.missUpperBoundRatio).toBeGreaterThan(0.01);
  });

  it("are none where one is too many, told before a long queue has built up", async () => {
    const slow = serial(500);
    expect(await found(slow)).toMatchObject({ held: null, notHeld: { streams: 1 } });
    expect(slow.requests).toBeLessThan(20);
  });

  it("stay unknown where the time is too short, or nothing can prove the target", async () => {
    const short = { notHeld: null, unknownReason: "the time was too short" };
    expect(await found(serial(1), { limitSeconds: 1 })).toMatchObject({ ...short, held: null });
    expect(await found(serial(1), { targetMissRatio: 0 })).toMatchObject({
      held: null,
      notHeld: null,
      unknownReason: expect.stringContaining("no number of requests"),
    });
    expect(await found(serial(1), { limitSeconds: 30 })).toMatchObject(short);
  });

  it("are the engine's also where a deadline is no longer than a timer takes to wake", async () => {
    expect(await found(serial(0.4), { periodSeconds: 0.001 })).toMatchObject({
      held: { streams: 2, misses: 0 },
      notHeld: { streams: 3 },
    });
  });

  it("stay unknown where the sender was late", async () => {
    turnMs = 1.5;
    expect(await found(serial(0), { periodSeconds: 0.001 })).toMatchObject({
      held: null,
      notHeld: null,
      unknownReason: "the sender was late",
    });
    // What a late sender misses nothing by is held all the same.
    expect(await found(serial(0), { periodSeconds: 0.01, limitSeconds: 12 })).toMatchObject({
      held: { misses: 0 },
    });
  });

  it("are no longer looked for when the audit is broken off, in the middle of a number too", async () => {
    const stop = new AbortController();
    const runner = serial(1, (request) => {
      if (request === 100) stop.abort(new Error("broken off"));
      return false;
    });
    await expect(found(runner, { signal: stop.signal })).rejects.toThrow("broken off");
    expect(runner.requests).toBe(100);
  });

  it("do not lose against a single answer that did not come, but against many", async () => {
    expect((await found(serial(3, (request) => request === 50))).held?.streams).toBe(6);
    expect(await found(serial(3, (request) => request % 50 === 0))).toMatchObject({
      held: null,
      notHeld: { streams: 1 },
    });
  });
});
