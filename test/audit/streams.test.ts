import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { mostStreams, type StreamsOptions } from "../../src/audit/offline/streams.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { EngineResult } from "../../src/core/engine.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

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
      free = Math.max(free, performance.now()) + milliseconds;
      await new Promise((resolve) => setTimeout(resolve, free - performance.now()));
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
    clock: systemClock,
    ...change,
  });
  const settled = pending.then(() => true);
  const second = () => vi.advanceTimersByTimeAsync(1000).then(() => false);
  while (!(await Promise.race([settled, second()])));
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
    expect(await found(serial(1), { limitSeconds: 1 })).toMatchObject({ held: null, notHeld: null });
    expect(await found(serial(1), { targetMissRatio: 0 })).toMatchObject({ held: null, notHeld: null });
    expect(await found(serial(1), { limitSeconds: 30 })).toMatchObject({ notHeld: null });
  });

  it("do not lose against a single answer that did not come, but against many", async () => {
    expect((await found(serial(3, (request) => request === 50))).held?.streams).toBe(6);
    expect(await found(serial(3, (request) => request % 50 === 0))).toMatchObject({
      held: null,
      notHeld: { streams: 1 },
    });
  });
});
