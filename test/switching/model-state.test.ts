import { describe, expect, test } from "vitest";
import type { LogEntry } from "../../src/audit/log/entry.ts";
import { freshState, restoreState, whyTakenOut, type SavedState } from "../../src/switching/model-state.ts";

const start = Date.parse("2026-01-01T00:00:00Z");

/** Log lines a minute apart; `artifacts` are those of the engines named. */
function entries(...decisions: Partial<LogEntry>[]): LogEntry[] {
  return decisions.map(
    (decision, i) =>
      ({
        seq: i + 1,
        model: "m",
        repository: "/models",
        time: new Date(start + i * 60_000).toISOString(),
        trigger: "manual",
        reason: "because",
        artifacts: { a: "digest-a", b: "digest-b" },
        ...decision,
      }) as LogEntry,
  );
}

const toB = { type: "switch", from: "a", to: "b" } as const;
const back = { type: "rollback", from: "b", to: "a" } as const;
const out = { type: "quarantine", from: "b", to: null } as const;
const lifted = { type: "unquarantine", from: "b", to: null } as const;
const kept = (artifact: string | null = "digest-b") => ({ b: { reason: "because", artifact } });

const restored = (log: readonly LogEntry[], document?: unknown) =>
  restoreState(document, log, {
    model: "m",
    repository: "/models",
    cooldownSeconds: 300,
  });

describe("a model's state from the log alone", () => {
  test.each<[string, LogEntry[], Partial<SavedState>]>([
    ["nothing was decided", [], freshState],
    ["a switch leaves a standby", entries(toB), { active: "b", standby: "a", rolledBack: {} }],
    [
      "a roll-back leaves none: what was rolled back takes over from nobody",
      entries(toB, back),
      { active: "a", standby: null, rolledBack: kept() },
    ],
    ["until a person switches to it", entries(toB, back, toB), { active: "b", standby: "a", rolledBack: {} }],
    [
      "a switch away from it leaves it as standby again",
      entries(toB, back, toB, { ...toB, from: "b", to: "c" }),
      { active: "c", standby: "b" },
    ],
    ["a quarantine", entries(out), { quarantined: kept() }],
    ["that was lifted", entries(out, lifted), { quarantined: {} }],
    [
      "a switch to the active engine itself changes no standby",
      entries(toB, { ...toB, from: "b", to: "b" }),
      { active: "b", standby: "a" },
    ],
    [
      "a person's switch pauses and holds for the cooldown",
      entries(toB),
      { pausedUntilMs: start + 300_000, heldUntilMs: start + 300_000, switchTimesMs: [] },
    ],
    [
      "a promotion pauses, holds nothing, and counts for maxSwitchesPerHour",
      entries({ ...toB, trigger: "policy" }),
      { pausedUntilMs: start + 300_000, heldUntilMs: 0, switchTimesMs: [start] },
    ],
    [
      "a roll-back by policy does not count",
      entries({ ...toB, trigger: "policy" }, { ...back, trigger: "policy" }),
      { switchTimesMs: [start] },
    ],
  ])("%s", (_, log, expected) => {
    expect(restored(log)).toMatchObject(expected);
  });

  test("what is stored is taken as it is; the log adds what came after it", () => {
    const state = { ...freshState, active: "b", standby: "a", decision: 1 };
    expect(restored(entries(toB, back), state)).toMatchObject({ active: "a", rolledBack: kept() });
    expect(restored(entries(toB), state)).toEqual(state);
  });

  describe("a log that was begun anew is told from the state's own", () => {
    const laterBack = { ...back, time: new Date(start + 3_600_000).toISOString() };
    const state = {
      ...freshState,
      active: "b",
      standby: "a",
      decision: 2,
      decisionHash: "of the old log",
      decisionTimeMs: start + 120_000,
    };

    test.each<[string, LogEntry[], Partial<SavedState>]>([
      ["by its end, which comes before the state's decision", entries(laterBack), { active: "a" }],
      [
        "by another decision under the state's number",
        entries({ type: "advice" }, { type: "advice", hash: "of the new log" }, laterBack),
        { active: "a", decision: 3 },
      ],
      [
        "whose own number is smaller than the state's",
        entries(laterBack, { type: "advice", hash: "of the new log" }),
        { active: "a", decision: 1 },
      ],
      ["which is forgotten, so that the next decisions count", [], { active: "b", decision: 0 }],
      [
        "but what a log that lost its end says is older than the state",
        entries({ ...back, hash: "of the old log too" }),
        { active: "b", standby: "a" },
      ],
    ])("%s", (_, log, expected) => {
      expect(restored(log, state)).toMatchObject(expected);
    });

    test("of the same log only later numbers count, whatever the clock said", () => {
      const log = entries(laterBack, { ...toB, hash: "of the old log" });
      expect(restored(log, state)).toEqual(state);
    });

    test("nor is one whose old files were archived away taken for new", () => {
      const [archived] = entries({ ...laterBack, seq: 7 });
      expect(restored(archived ? [archived] : [], state)).toMatchObject({ active: "a", decision: 7 });
    });

    test("other models' decisions tell as well", () => {
      const log = entries(laterBack, { ...toB, model: "other", hash: "of the new log" });
      expect(restored(log, state)).toMatchObject({ active: "a", decision: 1 });
    });
  });

  test("a file of version 0.1.0 is understood: its quarantines hold for any artifact", () => {
    const { rolledBack: _, ...old } = { ...freshState, quarantined: { b: "because" } };
    expect(restored([], old)).toEqual({ ...freshState, quarantined: kept(null) });
  });
});

test("an engine is taken out with its artifact, not with its name", () => {
  const engine = (sha256: string) => ({ id: "b", manifest: { artifact: { sha256 } } });
  expect(whyTakenOut(kept(), engine("digest-b"))).toBe("because");
  expect(whyTakenOut(kept(), engine("another"))).toBeUndefined();
  expect(whyTakenOut(kept(null), engine("another"))).toBe("because");
  expect(whyTakenOut({}, engine("digest-b"))).toBeUndefined();
});
