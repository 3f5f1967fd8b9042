import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { silentLog } from "../../src/core/log.ts";
import {
  newFolder,
  openScene,
  writeEngine,
  writeModel,
  type Scene,
  type ScriptedEngine,
} from "./_gateway.ts";

let scene: Scene | undefined;
const state = { done: true };
let client: Promise<unknown> = Promise.resolve();
afterEach(async () => {
  state.done = true;
  await client;
  await scene?.end();
  scene = undefined;
});

const policy = {
  mode: "automatic",
  interval: 0.5,
  initialDelaySeconds: 0.5,
  minSamples: 60,
  blockMs: 20,
  cooldownSeconds: 0,
  rules: [{ rule: "divergence" }],
};
const good = { sleepMicroseconds: 500 };
const bad = { ...good, fault: "swapped" };
const patience = { timeout: 60_000, interval: 200 };

async function write(engines: Record<string, ScriptedEngine>, settings: object = {}): Promise<string> {
  const folder = await newFolder();
  await writeModel(folder, "m", engines, {
    reference: "good",
    active: "good",
    shadow: { maxUtilization: 1 },
    policy,
    ...settings,
  });
  return folder;
}

async function open(folder: string): Promise<Scene> {
  scene = await openScene(folder);
  return scene;
}

/** Requests until the test ends. */
function drive(at: Scene): void {
  state.done = false;
  client = (async () => {
    while (!state.done) {
      await at.infer("m");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
}

const auditOf = async (at: Scene, id: string) =>
  (await at.services.audit?.verdicts("m"))?.candidates.find(({ engine }) => engine === id);
const stateOf = async (at: Scene, id: string) => (await auditOf(at, id))?.state;
const verdictsOf = async (at: Scene, id: string) => (await auditOf(at, id))?.verdicts ?? [];
const types = async (at: Scene) => (await at.decisions()).map(({ type }) => type);

describe("policy", () => {
  test("a manual switch lifts a quarantine, is held against the verdicts, and evidence begins anew", async () => {
    const at = await open(await write({ good, bad }, { policy: { ...policy, cooldownSeconds: 3 } }));
    drive(at);
    await expect.poll(async () => (await at.engine("m", "bad")).state, patience).toBe("quarantined");
    const alphaOf = async () => (await verdictsOf(at, "bad"))[0]?.alpha ?? Number.NaN;
    const alpha = await alphaOf();
    await at.services.switching?.switch("m", "bad", "I want it", "test");
    expect((await types(at)).slice(-2)).toEqual(["unquarantine", "switch"]);
    expect((await at.engine("m", "bad")).state).toBe("ready");
    expect(await alphaOf()).toBeLessThan(alpha);
    // Held for the cooldown, whatever the verdicts; then the policy is free again.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(await at.active("m")).toBe("bad");
    await expect.poll(() => at.active("m"), patience).toBe("good");
  }, 120_000);

  test("a quarantined engine that cannot be loaded stays quarantined", async () => {
    const folder = await write({ good, bad });
    const at = await open(folder);
    drive(at);
    await expect.poll(async () => (await at.engine("m", "bad")).state, patience).toBe("quarantined");
    await writeFile(join(folder, "models/m/engines/bad/artifact.bin"), "damaged");
    const before = await types(at);
    await expect(at.services.switching?.switch("m", "bad", "r", "t")).rejects.toMatchObject({
      code: "conflict",
    });
    expect((await at.engine("m", "bad")).state).toBe("quarantined");
    expect(await types(at)).toEqual(before);
  }, 120_000);

  test("a quarantine outlives the gateway: the engine does not serve when the active one cannot", async () => {
    const folder = await write({ good, abad: bad, spare: good }, { candidates: ["abad"] });
    const first = await open(folder);
    drive(first);
    await expect.poll(async () => (await first.engine("m", "abad")).state, patience).toBe("quarantined");
    state.done = true;
    await client;
    await first.stop();
    await writeFile(join(folder, "models/m/engines/good/artifact.bin"), "damaged");
    const second = await open(folder);
    expect(await second.active("m")).toBe("spare");
    expect((await second.engine("m", "abad")).state).toBe("quarantined");
  }, 120_000);

  test("a replaced artifact is another engine: the quarantine was the old one's, here and after a restart", async () => {
    const folder = await write({ good, bad });
    const first = await open(folder);
    drive(first);
    await expect.poll(async () => (await first.engine("m", "bad")).state, patience).toBe("quarantined");
    await writeEngine(folder, "m", "bad", { ...good, sleepMicroseconds: 400 });
    await first.services.models.load("m");
    expect((await first.engine("m", "bad")).state).not.toBe("quarantined");
    expect(await stateOf(first, "bad")).toBe("observing");
    state.done = true;
    await client;
    await first.stop();
    const second = await open(folder);
    expect((await second.engine("m", "bad")).state).not.toBe("quarantined");
  }, 120_000);

  test("a manual roll-back lasts: what was rolled back is neither standby nor promoted, here and after a restart", async () => {
    const rules = [{ rule: "flipRatio", threshold: 0.2 }];
    const folder = await write(
      { good, other: good },
      { task: "classification", policy: { ...policy, rules, watchSeconds: 0.5, canary: { steps: [100] } } },
    );
    const first = await open(folder);
    drive(first);
    await expect.poll(() => first.active("m"), patience).toBe("other");
    await first.services.switching?.rollback("m", "clients complain", "person");
    await expect(first.services.switching?.rollback("m", "again", "person")).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("no engine to roll back to"),
    });
    expect((await first.engine("m", "other")).role).toBe("candidate");
    const lasts = async (at: Scene) => {
      const have = async () => (await verdictsOf(at, "other"))[0]?.have ?? 0;
      const before = await have();
      await expect.poll(have, patience).toBeGreaterThan(before + 100);
      expect(await at.active("m")).toBe("good");
      expect(await stateOf(at, "other")).toBe("rolledBack");
    };
    await lasts(first);
    state.done = true;
    await client;
    await first.stop();
    const second = await open(folder);
    drive(second);
    await lasts(second);
    // A person may change their mind.
    await second.services.switching?.switch("m", "other", "it was something else", "person");
    expect((await second.services.switching?.rollback("m", "no", "person"))?.to).toBe("good");
  }, 120_000);

  test("a person's switch is held against self-checks too: advice within the cooldown, with every rule's value", async () => {
    const moody = { ...good, fault: "unsure" };
    const at = await open(await write({ good, moody }, { policy: { ...policy, cooldownSeconds: 300 } }));
    await expect.poll(async () => (await at.engine("m", "moody")).state, patience).toBe("quarantined");
    await at.services.switching?.switch("m", "moody", "I know", "person");
    const advice = async () => (await at.decisions()).filter(({ type }) => type === "advice");
    await expect.poll(advice, patience).toMatchObject([
      {
        from: "moody",
        to: "good",
        reason: expect.stringContaining("disagrees with itself"),
        details: { wouldDo: "rollBack" },
        verdicts: [{ rule: "divergence" }],
      },
    ]);
    expect(await at.active("m")).toBe("moody");
    expect((await at.engine("m", "moody")).state).toBe("ready");
  }, 60_000);

  test("a bad active engine that nothing can take over from: said once, tried again ever more seldom", async () => {
    const rules = [{ rule: "flipRatio", threshold: 0.05 }];
    const settings = { task: "classification", active: "bad", policy: { ...policy, interval: 0.25, rules } };
    const folder = await write({ good, bad: { ...good, fault: "wrongClass", rate: 0.5 } }, settings);
    const at = await open(folder);
    // Loaded in the shadow before it is damaged, so that there is evidence.
    await expect.poll(async () => (await at.engine("m", "good")).state, patience).toBe("ready");
    await new Promise((resolve) => setTimeout(resolve, 500));
    await writeFile(join(folder, "models/m/engines/good/artifact.bin"), "damaged");
    drive(at);
    await expect.poll(() => types(at), patience).toEqual(["hold"]);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(await types(at)).toEqual(["hold"]);
    expect(await at.active("m")).toBe("bad");
  }, 60_000);

  test("a switch that the memory budget has no room for is a conflict, not an outage", async () => {
    const settings = { shadow: { sampleRate: 0 }, policy: { mode: "off" } };
    const folder = await write({ good, other: good }, settings);
    scene = await openScene(folder, { memoryBudgetBytes: 90 * 1024 * 1024 });
    drive(scene);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await expect(scene.services.switching?.switch("m", "other", "r", "t")).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringContaining("memoryBudgetBytes"),
    });
    expect(await scene.active("m")).toBe("good");
  }, 60_000);

  test("the reference's errors have a denominator, in the shadow too", async () => {
    const rules = [{ rule: "errorRatio" }];
    const at = await open(
      await write({ good, other: good }, { active: "other", policy: { ...policy, rules } }),
    );
    drive(at);
    await expect.poll(async () => (await verdictsOf(at, "good"))[0]?.have, patience).toBeGreaterThan(20);
  }, 60_000);

  test("without a reference: warned about at load, errors are counted, a fast candidate is advised and not promoted", async () => {
    const warned: object[] = [];
    const log = { ...silentLog, warn: (fields: object) => void warned.push(fields) };
    const rules = [{ rule: "pairedSlowdown" }, { rule: "errorRatio", threshold: 0.2 }];
    const folder = await write(
      { good, fast: { sleepMicroseconds: 100, fault: "wrongClass", rate: 1 } },
      { reference: "gone", policy: { ...policy, rules } },
    );
    scene = await openScene(folder, {}, log);
    drive(scene);
    expect(warned).toContainEqual({
      model: "m",
      reference: "gone",
      reason: 'there is no such engine; did you mean "good"?',
    });
    const at = scene;
    await expect
      .poll(() => at.decisions(), patience)
      .toMatchObject([
        { type: "advice", from: "fast", reason: expect.stringContaining("no reference engine") },
      ]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await types(at)).toEqual(["advice"]);
    expect(await at.active("m")).toBe("good");
  }, 60_000);

  describe("a canary", () => {
    const rules = [{ rule: "flipRatio", threshold: 0.2 }];
    const steps = Array.from({ length: 50 }, () => 50);
    const slowly = { ...policy, interval: 0.25, minSamples: 40, rules, canary: { steps } };
    const settings = { task: "classification", policy: slowly };
    const other = { sleepMicroseconds: 400 };
    const last = async (at: Scene) => (await at.decisions()).at(-1);
    const shareOf = async (at: Scene, id: string) => {
      const chunks = at.services.metrics?.scrape(undefined).chunks ?? [];
      let text = "";
      for await (const chunk of chunks) text += Buffer.from(chunk).toString();
      return Number(new RegExp(`traffic_share_ratio\\{model="m",engine="${id}"\\} (\\S+)`).exec(text)?.[1]);
    };

    test("ends when a person switches to a third engine: nothing is left that blocks others, or could be promoted", async () => {
      const at = await open(
        await write({ good, other, third: good }, { ...settings, candidates: ["other"] }),
      );
      drive(at);
      await expect.poll(() => stateOf(at, "other"), patience).toBe("canary");
      await at.services.switching?.switch("m", "third", "r", "t");
      expect(await stateOf(at, "other")).toBe("observing");
      expect(await last(at)).toMatchObject({
        type: "switch",
        states: { other: { from: "canary", to: "observing" } },
      });
    }, 60_000);

    test("ends when a person names the engine that is active: it is held, and nothing else changes", async () => {
      const cooling = { ...slowly, cooldownSeconds: 600 };
      const at = await open(await write({ good, other }, { ...settings, policy: cooling }));
      drive(at);
      await expect.poll(() => stateOf(at, "other"), patience).toBe("canary");
      const held = await at.services.switching?.switch("m", "good", "keep it", "t");
      expect(held).toMatchObject({ from: "good", to: "good", decision: { reason: "keep it" } });
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(await stateOf(at, "other")).toBe("observing");
      expect(await last(at)).toMatchObject({
        type: "switch",
        states: { other: { from: "canary", to: "observing" } },
      });
    }, 60_000);

    test.each([
      ["policy mode is off", { policy: { ...slowly, mode: "off" } }],
      ["the policy is a dry run", { policy: { ...slowly, dryRun: true } }],
      ["it is no candidate any longer", { policy: slowly, candidates: [] }],
    ])(
      "ends with a reload: %s",
      async (why, changed) => {
        const folder = await write({ good, other }, settings);
        const at = await open(folder);
        drive(at);
        await expect.poll(() => stateOf(at, "other"), patience).toBe("canary");
        const base = { reference: "good", active: "good", shadow: { maxUtilization: 1 } };
        await writeModel(folder, "m", {}, { ...base, ...settings, ...changed });
        await at.services.models.load("m");
        for (let i = 0; i < 20; i++) expect((await at.infer("m")).engine).toBe("good");
        const holds = async () => (await at.decisions()).filter(({ type }) => type === "hold");
        await expect.poll(holds, patience).toMatchObject([{ from: "other", reason: `canary ended: ${why}` }]);
      },
      60_000,
    );

    test("that went away with its model gets its instance back, and its share shows only while it serves", async () => {
      const at = await open(await write({ good, other }, settings));
      drive(at);
      await expect.poll(() => stateOf(at, "other"), patience).toBe("canary");
      await expect.poll(() => shareOf(at, "other"), patience).toBe(0.5);
      state.done = true;
      await client;
      await at.services.models.unload("m");
      await at.services.models.load("m");
      expect((await at.engine("m", "other")).state).not.toBe("ready");
      drive(at);
      await expect.poll(async () => (await at.infer("m")).engine, patience).toBe("other");
      expect(await stateOf(at, "other")).toBe("canary");
    }, 60_000);

    test("that cannot be loaded again is held, with the reason", async () => {
      const folder = await write({ good, other }, settings);
      const at = await open(folder);
      drive(at);
      await expect.poll(() => stateOf(at, "other"), patience).toBe("canary");
      state.done = true;
      await client;
      await writeFile(join(folder, "models/m/engines/other/artifact.bin"), "damaged");
      await at.services.models.unload("m");
      await at.services.models.load("m");
      await expect
        .poll(() => last(at), patience)
        .toMatchObject({ type: "hold", from: "other", reason: expect.stringContaining("cannot serve") });
      expect(await stateOf(at, "other")).toBe("observing");
      await expect.poll(() => shareOf(at, "other"), patience).toBe(0);
    }, 60_000);

    test("that gets no live requests is held after inconclusiveLimit looks", async () => {
      const at = await open(
        await write({ good, other }, { ...settings, policy: { ...slowly, inconclusiveLimit: 4 } }),
      );
      drive(at);
      await expect.poll(() => stateOf(at, "other"), patience).toBe("canary");
      state.done = true;
      await client;
      await expect
        .poll(() => last(at), patience)
        .toMatchObject({ type: "hold", reason: expect.stringContaining("inconclusiveLimit 4") });
    }, 60_000);
  });

  test("advise: nothing is touched, and each thing is said once, whatever else is wrong", async () => {
    const advise = { ...policy, mode: "advise" };
    const at = await open(await write({ good, bad1: bad, bad2: bad, fine: good }, { policy: advise }));
    drive(at);
    const advised = async () =>
      (await at.decisions())
        .filter(({ type }) => type === "advice")
        .map(({ from }) => from ?? "")
        .toSorted((a, b) => a.localeCompare(b));
    await expect.poll(async () => new Set(await advised()), patience).toEqual(new Set(["bad1", "bad2"]));
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(await advised()).toEqual(["bad1", "bad2"]);
    expect((await at.engine("m", "bad1")).state).toBe("ready");
    expect(await at.active("m")).toBe("good");
  }, 120_000);

  test("a dry run changes nothing, but logs what would be done", async () => {
    const rules = [
      { rule: "flipRatio", threshold: 0.2 },
      { rule: "divergence", threshold: 0.2 },
    ];
    const moody = { ...good, fault: "unsure" };
    const settings = { task: "classification", policy: { ...policy, dryRun: true, rules } };
    const at = await open(await write({ good, bad, fine: good, moody }, settings));
    drive(at);
    const advised = async () =>
      new Set(
        (await at.decisions()).map(
          (entry) => `${entry.type} ${entry.from} ${String(entry.details?.["wouldDo"])}`,
        ),
      );
    const all = ["bad quarantine", "moody quarantine", "fine eligible", "fine canary"];
    await expect.poll(advised, patience).toEqual(new Set(all.map((each) => `advice ${each}`)));
    for (const id of ["good", "bad", "fine", "moody"]) expect((await at.engine("m", id)).state).toBe("ready");
    for (let i = 0; i < 20; i++) expect((await at.infer("m")).engine).toBe("good");
    expect(await at.active("m")).toBe("good");
  }, 120_000);

  test("evidence goes on after a restart of the gateway", async () => {
    const folder = await write({ good, other: good });
    const first = await open(folder);
    drive(first);
    const have = async (at: Scene) => (await verdictsOf(at, "other"))[0]?.have ?? 0;
    await expect.poll(() => have(first), patience).toBeGreaterThan(20);
    state.done = true;
    await client;
    await first.stop();
    const seen = await have(first);
    expect(await have(await open(folder))).toBe(seen);
  }, 120_000);

  test("a switch while the model is idle makes it ready, and it goes idle again", async () => {
    const settings = { idleUnloadSeconds: 0.5, shadow: { sampleRate: 0 } };
    const at = await open(await write({ good, other: good }, settings));
    const stateOfEngine = async (id: string) => (await at.engine("m", id)).state;
    await expect.poll(() => stateOfEngine("good"), patience).toBe("unloaded");
    await at.services.switching?.switch("m", "other", "r", "t");
    expect(await stateOfEngine("other")).toBe("ready");
    await expect.poll(() => stateOfEngine("other"), patience).toBe("unloaded");
    // An engine that was pinned while the model was idle does not stay either.
    await at.infer("m", { engine: "good" });
    await expect.poll(() => stateOfEngine("good"), patience).toBe("unloaded");
  });

  test("an active engine that dies again and again has failed: the log says so, and the standby answers", async () => {
    // Of all inputs the one that engines are warmed up with is among those it survives.
    const dying = { ...good, fault: "crash", rate: 0.94 };
    const at = await open(
      await write({ good, dying }, { shadow: { sampleRate: 0 }, policy: { mode: "off" } }),
    );
    await at.services.switching?.switch("m", "dying", "r", "t");
    await expect
      .poll(async () => {
        await at.infer("m");
        return types(at);
      }, patience)
      .toContain("engineFailed");
    expect((await at.infer("m")).engine).toBe("good");
  }, 90_000);
});
