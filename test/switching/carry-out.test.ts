import { describe, expect, test } from "vitest";
import { type Decision, firstPrev, type LogEntry, sealEntry } from "../../src/audit/log/entry.ts";
import type { DecisionLog } from "../../src/audit/log/decision-log.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { EngineRetiredError, type Engine } from "../../src/models/engine.ts";
import { policySchema, type ModelConfig } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import { carryOut } from "../../src/switching/carry-out.ts";
import { createChanges } from "../../src/switching/changes.ts";
import type { EngineEvidence, RuleVerdict } from "../../src/switching/decide.ts";
import { restoreState } from "../../src/switching/model-state.ts";
import { createTracks } from "../../src/switching/tracks.ts";

const engineOf = (id: string) =>
  ({
    id,
    canTakeOver: true,
    manifest: { artifact: { sha256: `digest-${id}` }, compiler: { name: "tvm" } },
    ready: () => Promise.resolve(),
  }) as unknown as Engine;

/** Three engines, the first active; every line is kept. */
function open() {
  const [a, b, c] = [engineOf("a"), engineOf("b"), engineOf("c")];
  const engines = new Map([a, b, c].map((engine) => [engine.id, engine]));
  const config = { policy: policySchema.parse({ mode: "automatic" }) } as ModelConfig;
  const model = new Model({ name: "m", directory: "", config, engines, broken: new Map() });
  model.activate(a);
  const log: LogEntry[] = [];
  const append = (decision: Decision) => {
    const time = new Date().toISOString();
    const place = { seq: log.length + 1, time, repository: "/models", prev: firstPrev };
    const { entry } = sealEntry(decision, place);
    log.push(entry);
    return Promise.resolve(entry);
  };
  const tracks = createTracks({ clock: systemClock });
  const changes = createChanges({
    models: { wake: () => Promise.resolve(a) },
    tracks,
    memory: { restore: () => Promise.resolve(), record: () => {}, close: () => Promise.resolve() },
    decisions: { append } as unknown as DecisionLog,
    onSwitched: () => {},
    onChanged: () => {},
    onLifted: () => {},
    clock: systemClock,
    log: silentLog,
  });
  const restored = () =>
    restoreState(undefined, log, {
      model: "m",
      repository: "/models",
      cooldownSeconds: 0,
    });
  return { model, a, b, c, log, tracks, changes, restored };
}

const found = (id: string, verdict: RuleVerdict["verdict"]) =>
  ({ id, verdicts: [{ rule: "flipRatio", verdict, have: 100 }] }) as unknown as EngineEvidence;
const promote = { type: "promote", engine: "b", reason: "passed" } as const;

describe("who is standby after a switch, here and after a restart", () => {
  test.each([
    ["pass", "a"],
    ["inconclusive", "a"],
    ["fail", undefined],
  ] as const)("a promotion over one whose rules %s: %s", async (verdict, standby) => {
    const { model, b, tracks, changes, restored } = open();
    await carryOut(model, promote, [found("a", verdict), found("b", "pass")], { changes, tracks });
    expect(model.active).toBe(b);
    expect(model.standby?.id).toBe(standby);
    expect(changes.fallbacks(model).map(({ id }) => id)).toEqual(standby === undefined ? [] : [standby]);
    expect(restored()).toMatchObject({ active: "b", standby: standby ?? null });
  });

  test("where the one that is left fails, the standby from before stays", async () => {
    const { model, c, tracks, changes, restored } = open();
    await carryOut(model, promote, [found("a", "pass"), found("b", "pass")], { changes, tracks });
    const again = { ...promote, engine: "c" };
    await carryOut(model, again, [found("b", "fail"), found("c", "pass")], { changes, tracks });
    expect(model.active).toBe(c);
    expect(model.standby?.id).toBe("a");
    expect(restored()).toMatchObject({ active: "c", standby: "a" });
  });

  test("the log says which rules the one that was left fails", async () => {
    const { model, log, tracks, changes } = open();
    await carryOut(model, promote, [found("a", "fail"), found("b", "pass")], { changes, tracks });
    expect(log).toMatchObject([
      { type: "switch", from: "a", to: "b", details: { fromFails: ["flipRatio"] } },
    ]);
  });
});

test("a roll-back that the gateway's end overtakes is no roll-back that nothing could take over from", async () => {
  const { model, a, b, log, tracks, changes } = open();
  await carryOut(model, promote, [found("a", "pass"), found("b", "pass")], { changes, tracks });
  Object.assign(a, { ready: () => Promise.reject(new EngineRetiredError("a")) });
  await expect(changes.takeOut(model, b, "wrong", { trigger: "policy" })).rejects.toThrow("shutting down");
  expect(log.map(({ type }) => type)).toEqual(["switch"]);
  expect(model.active).toBe(b);
});
