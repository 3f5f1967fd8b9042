import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { judgedBy, newFolder, openScene, writeModel, type Scene } from "./_gateway.ts";

/**
 * The controller against engines whose faults are known. Evidence counts one observation per block, so blocks are made
 * short (20 ms); thresholds, alpha and the decision code are those of production.
 */
const policy = {
  mode: "automatic",
  interval: 0.5,
  initialDelaySeconds: 0.5,
  minSamples: 60,
  blockMs: 20,
  failureLimit: 0,
  watchSeconds: 2,
  cooldownSeconds: 0,
  maxSwitchesPerHour: 1000,
  canary: { steps: [50] },
};
const good = { sleepMicroseconds: 1000 };

/** A fault, the rule that finds it, and the rules that are looked at (its own alone gets all of alpha). */
const faults: [string, { fault: string; rate?: number }, string][] = [
  ["wrong class on some inputs", { fault: "wrongClass", rate: 0.1 }, "flipRatio"],
  ["NaN on some inputs", { fault: "nan", rate: 0.1 }, "divergence"],
  ["right values in the wrong output", { fault: "swapped" }, "divergence"],
  ["crash on some inputs", { fault: "crash", rate: 0.02 }, "errorRatio"],
  ["slower and slower", { fault: "drift" }, "pairedSlowdown"],
];

let scene: Scene;
const traffic = { done: false, sent: 0, large: false, errors: [] as unknown[] };
let clients: Promise<unknown> = Promise.resolve();

beforeAll(async () => {
  const folder = await newFolder();
  const settings = (rule: string) => judgedBy(rule, policy);
  for (const [place, [, fault, rule]] of faults.entries())
    await writeModel(folder, `m${place}`, { good, bad: { ...good, ...fault } }, settings(rule));
  // A bad engine that is active already, and a candidate that is simply better.
  await writeModel(
    folder,
    "active-bad",
    { good, bad: { ...good, fault: "swapped" } },
    { ...settings("divergence"), active: "bad" },
  );
  const rules = [{ rule: "pairedSlowdown" }, { rule: "flipRatio", threshold: 0.2 }];
  await writeModel(
    folder,
    "better",
    { good, fast: { sleepMicroseconds: 200, fault: "wrongOnLarge" } },
    { ...settings("pairedSlowdown"), policy: { ...policy, rules } },
  );
  // It answers the same input in two ways: no reference is needed to see that.
  await writeModel(folder, "unsure", { good, moody: { ...good, fault: "unsure" } }, settings("flipRatio"));
  scene = await openScene(folder);
  const names = [...faults.keys()].map((place) => `m${place}`);
  clients = Promise.all(
    [...names, "active-bad", "better"].map(async (name) => {
      while (!traffic.done) {
        traffic.sent++;
        await scene
          .infer(name, {
            x: [traffic.large ? 2 : Math.random(), Math.random(), Math.random(), Math.random()],
          })
          .catch((error: unknown) => traffic.errors.push(error));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }),
  );
});

afterAll(async () => {
  traffic.done = true;
  await clients;
  await scene.end();
});

const auditOf = async (model: string, engine: string) =>
  (await scene.services.audit?.verdicts(model))?.candidates.find((each) => each.engine === engine);
const stateOf = async (model: string, engine: string) => (await auditOf(model, engine))?.state;
const verdictOf = async (model: string, engine: string, rule: string) =>
  (await auditOf(model, engine))?.verdicts.find((each) => each.rule === rule);

const patience = { timeout: 150_000, interval: 250 };

describe("an injected fault", () => {
  test.each(faults.map(([name, , rule], place) => [name, rule, place] as const))(
    "%s: found by %s, quarantined, never promoted",
    async (_name, rule, place) => {
      const model = `m${place}`;
      await expect.poll(async () => (await scene.engine(model, "bad")).state, patience).toBe("quarantined");
      expect((await scene.engine(model, "bad")).reason).toContain(rule);
      const decisions = (await scene.decisions()).filter((entry) => entry.model === model);
      expect(decisions.filter(({ type, to }) => type === "switch" && to === "bad")).toEqual([]);
      expect(decisions.find(({ type }) => type === "quarantine")).toMatchObject({
        from: "bad",
        trigger: "policy",
      });
      expect(await scene.active(model)).toBe("good");
    },
    160_000,
  );

  test("in the active engine: rolled back to the reference, then quarantined", async () => {
    await expect.poll(() => scene.active("active-bad"), patience).toBe("good");
    await expect
      .poll(async () => (await scene.engine("active-bad", "bad")).state, patience)
      .toBe("quarantined");
    const types = (await scene.decisions())
      .filter(({ model }) => model === "active-bad")
      .map(({ type }) => type);
    expect(types.slice(0, 2)).toEqual(["rollback", "quarantine"]);
  }, 160_000);

  test("an engine that disagrees with itself is quarantined by its self-check", async () => {
    await expect
      .poll(async () => (await scene.engine("unsure", "moody")).state, patience)
      .toBe("quarantined");
    expect((await scene.engine("unsure", "moody")).reason).toMatch(/disagrees with itself/);
  }, 160_000);

  test("no fault: a better candidate goes by way of the canary and is promoted", async () => {
    await expect.poll(() => scene.active("better"), patience).toBe("fast");
    const types = (await scene.decisions()).filter(({ model }) => model === "better").map(({ type }) => type);
    expect(types.filter((type) => type === "canary").length).toBeGreaterThan(0);
    expect(types).toContain("switch");
  }, 160_000);

  test("what it has overtaken stays where a roll-back needs it: found bad later, it is rolled back", async () => {
    await expect.poll(() => stateOf("better", "fast"), patience).toBe("settled");
    // Slower than the new active engine by far, which is no fault of the reference and standby.
    await expect
      .poll(async () => (await verdictOf("better", "good", "pairedSlowdown"))?.verdict, patience)
      .toBe("fail");
    await new Promise((resolve) => setTimeout(resolve, 3 * 1000 * policy.interval));
    expect((await scene.engine("better", "good")).state).toBe("ready");
    traffic.large = true;
    await expect.poll(() => scene.active("better"), patience).toBe("good");
    const decisions = (await scene.decisions()).filter(({ model }) => model === "better");
    expect(decisions.find(({ type }) => type === "rollback")).toMatchObject({ from: "fast", to: "good" });
    expect(decisions.filter(({ type, from }) => type === "quarantine" && from === "good")).toEqual([]);
    traffic.large = false;
  }, 160_000);

  test("and no client saw any of it", () => {
    expect(traffic.sent).toBeGreaterThan(500);
    expect(traffic.errors).toEqual([]);
  });
});
