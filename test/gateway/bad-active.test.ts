import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { judgedBy, newFolder, openScene, writeModel, type Scene, type ScriptedEngine } from "./_gateway.ts";

/** Engines with a fault that a person has made active; what was active before is the standby. */
const policy = {
  mode: "automatic",
  interval: 0.25,
  minSamples: 60,
  blockMs: 20,
  cooldownSeconds: 0,
};
const good = { sleepMicroseconds: 1000 };

const faults: [string, ScriptedEngine, rule: string, settings?: object][] = [
  ["wrong class on some inputs", { fault: "wrongClass", rate: 0.1 }, "flipRatio"],
  ["NaN on some inputs", { fault: "nan", rate: 0.1 }, "divergence"],
  ["crash on some inputs", { fault: "crash", rate: 0.05 }, "errorRatio"],
  // Its times are judged by the clients' deadline: there is nothing to compare an active engine with.
  ["slower and slower", { fault: "drift" }, "deadlineMissRatio", { deadlineMs: 6 }],
];

let scene: Scene;
const traffic = { done: false, errors: [] as unknown[] };
let clients: Promise<unknown> = Promise.resolve();

beforeAll(async () => {
  const folder = await newFolder();
  for (const [place, [, fault, rule, settings]] of faults.entries())
    await writeModel(
      folder,
      `m${place}`,
      { good, bad: { ...good, ...fault } },
      { ...judgedBy(rule, policy), ...settings },
    );
  scene = await openScene(folder);
  const models = faults.map((_, place) => `m${place}`);
  for (const model of models) await scene.services.switching?.switch(model, "bad", "r", "t");
  clients = Promise.all(
    models.map(async (model) => {
      while (!traffic.done) {
        await scene
          .infer(model, { x: Array.from({ length: 4 }, Math.random) })
          .catch((error: unknown) => traffic.errors.push(error));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }),
  );
});

afterAll(async () => {
  traffic.done = true;
  await clients;
  await scene.end();
});

describe("a fault of the active engine", () => {
  test.each(faults.map(([name, , rule], place) => [name, rule, `m${place}`] as const))(
    "%s: found by %s, rolled back to the standby and quarantined",
    async (_name, rule, model) => {
      const patience = { timeout: 100_000, interval: 250 };
      await expect.poll(() => scene.active(model), patience).toBe("good");
      await expect.poll(async () => (await scene.engine(model, "bad")).state, patience).toBe("quarantined");
      const decisions = (await scene.decisions()).filter(
        (entry) => entry.model === model && entry.type !== "failover",
      );
      expect(decisions.slice(1, 3)).toMatchObject([
        { type: "rollback", from: "bad", to: "good", reason: expect.stringContaining(rule) },
        { type: "quarantine", from: "bad" },
      ]);
    },
    110_000,
  );

  test("and no client saw any of it", () => expect(traffic.errors).toEqual([]));
});
