import { describe, expect, test } from "vitest";
import { policySchema, type Policy } from "../../src/models/manifest.ts";
import {
  decide,
  type DecisionInput,
  type EngineEvidence,
  type RuleVerdict,
} from "../../src/switching/decide.ts";

const automatic = policySchema.parse({
  mode: "automatic",
  initialDelaySeconds: 30,
  minSamples: 100,
  watchSeconds: 60,
});

function verdict(rule: string, outcome: RuleVerdict["verdict"], have = 1000): RuleVerdict {
  return { rule, verdict: outcome, have };
}

const good = [verdict("latencyP99Ratio", "pass"), verdict("flipRatio", "pass")];
const bad = [verdict("latencyP99Ratio", "pass"), verdict("flipRatio", "fail")];
const slow = [
  verdict("deadlineMissRatio", "fail"),
  verdict("latencyP99Ratio", "fail"),
  verdict("jitterRatio", "fail"),
  verdict("pairedSlowdown", "fail"),
  verdict("flipRatio", "pass"),
];
const open = [verdict("latencyP99Ratio", "inconclusive"), verdict("flipRatio", "pass")];

function engine(id: string, fields: Partial<EngineEvidence> = {}): EngineEvidence {
  return {
    id,
    state: "observing",
    sinceSeconds: 0,
    verdicts: good,
    failures: 0,
    inconclusives: 0,
    canaryStep: 0,
    canarySamples: 0,
    nextRollBackSeconds: 0,
    canaryFromSeconds: 0,
    left: false,
    advised: "",
    needed: false,
    ...fields,
  };
}

function input(fields: Partial<DecisionInput> = {}): DecisionInput {
  return {
    nowSeconds: 1000,
    policy: automatic,
    active: engine("ort", { state: "settled" }),
    candidates: [engine("tvm")],
    hasReference: true,
    fallback: "last-good",
    pausedUntilSeconds: 0,
    heldUntilSeconds: 0,
    switchSeconds: [],
    ...fields,
  };
}

const policy = (fields: Partial<Policy>): Policy => ({ ...automatic, ...fields });
const canary = (fields: Partial<EngineEvidence> = {}) =>
  engine("tvm", { state: "canary", canarySamples: 100, ...fields });

/** The engine of the last switch fails, and nothing can take over from it. */
const stuck: Partial<DecisionInput> = {
  active: engine("bad", { state: "watch", sinceSeconds: 0, verdicts: bad, failures: 5 }),
  fallback: undefined,
};

describe("decide", () => {
  test.each<[string, Partial<DecisionInput>, object]>([
    ["a candidate that passes every rule becomes eligible", {}, { type: "eligible", engine: "tvm" }],
    [
      "not before initialDelaySeconds",
      { candidates: [engine("tvm", { sinceSeconds: 980 })] },
      { type: "none", reason: "no candidate passes every rule yet" },
    ],
    [
      "not before it may be a canary again",
      { candidates: [engine("tvm", { canaryFromSeconds: 1090.5 })] },
      {
        type: "none",
        reason: "tvm passes every rule in the shadow, but was held as a canary; again in 91 s",
      },
    ],
    [
      "one taken out is not said to wait",
      { candidates: [engine("tvm", { state: "rolledBack", canaryFromSeconds: 1090.5 })] },
      { type: "none", reason: "no candidate passes every rule yet" },
    ],
    [
      "one that was left is not a canary again for passing alone",
      { candidates: [engine("tvm", { state: "eligible", left: true })] },
      {
        type: "none",
        reason:
          "tvm passes every rule, but was left for another engine and is not shown to be faster than ort (pairedSlowdown's upper bound below 1)",
      },
    ],
    [
      "one that was left and is no slower, either",
      {
        candidates: [
          engine("tvm", {
            state: "eligible",
            left: true,
            verdicts: [{ ...verdict("pairedSlowdown", "pass"), upper: 1.01 }],
          }),
        ],
      },
      { type: "none" },
    ],
    [
      "but when it is shown to be faster",
      {
        candidates: [
          engine("tvm", {
            state: "eligible",
            left: true,
            verdicts: [{ ...verdict("pairedSlowdown", "pass"), upper: 0.98 }],
          }),
        ],
      },
      { type: "canary", engine: "tvm" },
    ],
    [
      "or when the active engine fails",
      {
        active: engine("ort", { state: "settled", verdicts: bad }),
        candidates: [engine("tvm", { state: "eligible", left: true })],
      },
      { type: "canary", engine: "tvm" },
    ],
    [
      "one that was left does not stand in the way of another",
      {
        candidates: [engine("tvm", { state: "eligible", left: true }), engine("trt", { state: "eligible" })],
      },
      { type: "canary", engine: "trt" },
    ],
    [
      "not on fewer samples than minSamples",
      { candidates: [engine("tvm", { verdicts: [verdict("flipRatio", "pass", 99)] })] },
      { type: "none" },
    ],
    [
      "not while a rule is inconclusive",
      { candidates: [engine("tvm", { verdicts: open })] },
      { type: "none" },
    ],
    ["not without any verdict", { candidates: [engine("tvm", { verdicts: [] })] }, { type: "none" }],
    [
      "an eligible candidate takes the first canary step",
      { candidates: [engine("tvm", { state: "eligible" })] },
      { type: "canary", engine: "tvm", step: 0 },
    ],
    [
      "not without a reference: it is told, and no more",
      { hasReference: false },
      { type: "eligible", reason: expect.stringContaining("no reference engine says") },
    ],
    [
      "which no speed makes up for",
      { candidates: [engine("tvm", { state: "eligible" })], hasReference: false },
      { type: "none", reason: expect.stringContaining("no reference engine says") },
    ],
    [
      "nor any canary",
      { candidates: [canary({ canaryStep: 2 })], hasReference: false },
      { type: "none", reason: expect.stringContaining("no reference engine says") },
    ],
    [
      "only in automatic mode",
      { candidates: [engine("tvm", { state: "eligible" })], policy: policy({ mode: "advise" }) },
      { type: "none", reason: "policy mode is advise" },
    ],
    [
      "mode off does nothing, even about a failing engine",
      { active: engine("ort", { verdicts: bad, failures: 9 }), policy: policy({ mode: "off" }) },
      { type: "none" },
    ],
    [
      "a canary step needs live samples of its own",
      { candidates: [canary({ canarySamples: 99 })] },
      { type: "none", reason: "canary step 1 of 3: 99 of 100 live samples" },
    ],
    [
      "a step that passed leads to the next",
      { candidates: [canary()] },
      { type: "canary", engine: "tvm", step: 1 },
    ],
    [
      "the last step leads to promotion",
      { candidates: [canary({ canaryStep: 2 })] },
      { type: "promote", engine: "tvm" },
    ],
    [
      "promotion waits for the cooldown",
      { candidates: [canary({ canaryStep: 2 })], pausedUntilSeconds: 1010 },
      { type: "none", reason: "paused for another 10 s (cooldownSeconds 300)" },
    ],
    [
      "promotion respects the cap on switches",
      { candidates: [canary({ canaryStep: 2 })], switchSeconds: [10, 500, 600, 700] },
      { type: "none", reason: "4 switches in the last hour (maxSwitchesPerHour 4)" },
    ],
    [
      "switches of more than an hour ago do not count",
      { nowSeconds: 5000, candidates: [canary({ canaryStep: 2 })], switchSeconds: [10, 20, 30, 40] },
      { type: "promote" },
    ],
    [
      "a failing canary is rolled back at once",
      { candidates: [canary({ verdicts: bad, failures: 1 })] },
      { type: "rollBack", engine: "tvm", to: "ort" },
    ],
    [
      "also during the cooldown",
      { candidates: [canary({ verdicts: bad, failures: 1 })], pausedUntilSeconds: 9999 },
      { type: "rollBack" },
    ],
    [
      "failureLimit tolerates that many failed checks",
      { candidates: [canary({ verdicts: bad, failures: 1 })], policy: policy({ failureLimit: 1 }) },
      { type: "none" },
    ],
    [
      "a canary that stays inconclusive is held",
      { candidates: [canary({ verdicts: open, inconclusives: 61 })] },
      { type: "hold", engine: "tvm" },
    ],
    [
      "a failing candidate is quarantined",
      { candidates: [engine("tvm", { verdicts: bad, failures: 1 })] },
      { type: "quarantine", engine: "tvm" },
    ],
    [
      "one that is slower than the active engine, too",
      { candidates: [engine("tvm", { verdicts: slow, failures: 1 })] },
      { type: "quarantine", engine: "tvm" },
    ],
    [
      "but not the reference or the standby, which are needed",
      { candidates: [engine("ort", { verdicts: slow, failures: 1, needed: true })] },
      { type: "none" },
    ],
    [
      "unless they are wrong",
      { candidates: [engine("ort", { verdicts: [...slow, ...bad], failures: 1, needed: true })] },
      { type: "quarantine", engine: "ort", reason: expect.stringMatching(/^fails flipRatio \(/) },
    ],
    [
      "as a canary they are held instead",
      { candidates: [canary({ verdicts: slow, failures: 1, needed: true })] },
      { type: "hold", engine: "tvm" },
    ],
    [
      "a quarantined one is left alone",
      { candidates: [engine("tvm", { state: "quarantined", verdicts: bad, failures: 5 })] },
      { type: "none" },
    ],
    [
      "a failing active engine goes before everything else",
      { active: engine("ort", { verdicts: bad, failures: 1 }), candidates: [canary({ canaryStep: 2 })] },
      { type: "rollBack", engine: "ort", to: "last-good" },
    ],
    [
      "but stays when nothing else can serve",
      { active: engine("ort", { verdicts: bad, failures: 1 }), fallback: undefined, candidates: [] },
      { type: "none" },
    ],
    [
      "a roll-back that nothing could take over from is tried again later",
      { active: engine("ort", { verdicts: bad, failures: 5, nextRollBackSeconds: 1001 }), candidates: [] },
      { type: "none" },
    ],
    [
      "a promoted engine is watched",
      { active: engine("tvm", { state: "promoted", sinceSeconds: 990 }) },
      { type: "watch", engine: "tvm" },
    ],
    [
      "also one that a person chose, while that is held",
      { active: engine("tvm", { state: "promoted", sinceSeconds: 990 }), heldUntilSeconds: 1200 },
      { type: "watch", engine: "tvm" },
    ],
    [
      "but a failing one is rolled back",
      { active: engine("tvm", { state: "promoted", sinceSeconds: 990, verdicts: bad, failures: 1 }) },
      { type: "rollBack", engine: "tvm" },
    ],
    [
      "a watched engine settles after watchSeconds",
      { active: engine("tvm", { state: "watch", sinceSeconds: 940 }) },
      { type: "settle", engine: "tvm" },
    ],
    [
      "while it is watched no other canary begins",
      {
        active: engine("tvm", { state: "watch", sinceSeconds: 990 }),
        candidates: [engine("trt", { state: "eligible" })],
      },
      { type: "none", reason: "the last switch is still being watched" },
    ],
    [
      "nor while it fails and can be rolled back before long",
      {
        active: engine("tvm", { state: "watch", sinceSeconds: 0, verdicts: bad, failures: 1 }),
        candidates: [engine("trt", { state: "eligible" })],
        policy: policy({ failureLimit: 1 }),
        fallback: undefined,
      },
      { type: "none", reason: "the last switch is still being watched" },
    ],
    [
      "nothing to roll back to: a canary is the way out",
      { ...stuck, candidates: [engine("trt", { state: "eligible" })] },
      {
        type: "canary",
        engine: "trt",
        step: 0,
        reason:
          "passes every rule in the shadow; the active engine fails flipRatio and there is nothing to roll back to",
      },
    ],
    [
      "also between two tries of a roll-back that nothing could take over from",
      {
        active: engine("tvm", { state: "watch", verdicts: bad, failures: 5, nextRollBackSeconds: 1001 }),
        candidates: [engine("trt", { state: "eligible" })],
      },
      { type: "canary", engine: "trt" },
    ],
    [
      "the roll-back goes first when it is due again",
      {
        active: engine("tvm", { state: "watch", verdicts: bad, failures: 5, nextRollBackSeconds: 1000 }),
        candidates: [engine("trt", { state: "eligible" })],
      },
      { type: "rollBack", engine: "tvm" },
    ],
    [
      "it is promoted as any other",
      { ...stuck, candidates: [canary({ canaryStep: 2 })] },
      { type: "promote", engine: "tvm" },
    ],
    [
      "after the cooldown",
      { ...stuck, candidates: [engine("trt", { state: "eligible" })], pausedUntilSeconds: 1010 },
      { type: "none", reason: expect.stringContaining("paused for another 10 s") },
    ],
    [
      "within the cap on switches",
      { ...stuck, candidates: [engine("trt", { state: "eligible" })], switchSeconds: [10, 500, 600, 700] },
      { type: "none", reason: expect.stringContaining("maxSwitchesPerHour") },
    ],
    [
      "not while a person's choice is held",
      { ...stuck, candidates: [engine("trt", { state: "eligible" })], heldUntilSeconds: 1200 },
      { type: "none", reason: expect.stringContaining("switched by hand") },
    ],
    [
      "and only if it passes every rule itself",
      { ...stuck, candidates: [engine("trt", { state: "eligible", verdicts: open })] },
      { type: "none", reason: "no candidate passes every rule yet" },
    ],
  ])("%s", (_, given, expected) => {
    expect(decide(input(given))).toMatchObject(expected);
  });

  test("says which rules failed and how often", () => {
    const action = decide(input({ candidates: [engine("tvm", { verdicts: bad, failures: 3 })] }));
    expect(action).toMatchObject({ reason: "fails flipRatio (3 checks in a row, failureLimit 0)" });
  });
});
