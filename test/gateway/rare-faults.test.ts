import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { judgedBy, newFolder, openScene, writeModel, type Scene, type ScriptedEngine } from "./_gateway.ts";

/**
 * Faults that few requests show, with thresholds, alpha and code of production; blocks are so short that every request
 * counts. One model after another has the machine to itself, since what is to be found are times.
 */
const policy = {
  mode: "automatic",
  interval: 0.25,
  initialDelaySeconds: 0,
  minSamples: 60,
  blockMs: 1,
  cooldownSeconds: 0,
};
/** Inputs do not wait for each other: those that are told of together are in one block. */
const shadow = { maxUtilization: 1, maxQueue: 1 };
const good = { sleepMicroseconds: 200 };

/** A pause that leaves room for the slow runs: one that a live request overlaps has no time that counts. */
const faults: [string, ScriptedEngine, rule: string, pauseMs: number][] = [
  ["wrong class in 1 of 200 inputs", { fault: "wrongClass", rate: 0.005 }, "flipRatio", 1],
  ["3 % of requests 10 times slower", { fault: "slow", rate: 0.03 }, "latencyP99Ratio", 10],
  ["slower only after idle", { fault: "slowAfterIdle" }, "pairedSlowdown", 300],
];

let scene: Scene;
const state = { done: true };
let client: Promise<unknown> = Promise.resolve();

beforeAll(async () => {
  const folder = await newFolder();
  for (const [place, [, fault, rule]] of faults.entries())
    await writeModel(
      folder,
      `m${place}`,
      { good, bad: { ...good, ...fault } },
      { ...judgedBy(rule, policy), shadow },
    );
  scene = await openScene(folder);
});

afterEach(async () => {
  state.done = true;
  await client;
});

afterAll(() => scene.end());

function drive(model: string, pauseMs: number): void {
  state.done = false;
  client = (async () => {
    while (!state.done) {
      await scene.infer(model, { x: Array.from({ length: 4 }, Math.random) });
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  })();
}

describe("a rare fault", () => {
  test.each(faults.map(([name, , rule, pauseMs], place) => [name, rule, `m${place}`, pauseMs] as const))(
    "%s: found by %s, never promoted",
    async (_name, rule, model, pauseMs) => {
      drive(model, pauseMs);
      const patience = { timeout: 150_000, interval: 250 };
      await expect.poll(async () => (await scene.engine(model, "bad")).state, patience).toBe("quarantined");
      expect((await scene.engine(model, "bad")).reason).toContain(`fails ${rule}`);
      const decisions = (await scene.decisions()).filter((entry) => entry.model === model);
      expect(decisions.filter(({ type, to }) => type === "switch" && to === "bad")).toEqual([]);
      expect(await scene.active(model)).toBe("good");
    },
    160_000,
  );
});
