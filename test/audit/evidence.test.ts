import type { JudgeOptions } from "../../src/audit/rules/rule.ts";
import { describe, expect, test } from "vitest";
import { createEvidence, type EvidenceEvent } from "../../src/audit/evidence.ts";
import { judge } from "../../src/audit/verdict.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { freshEvidence, latencies, pair, perBlock } from "./traffic.ts";

const candidate: JudgeOptions = { role: "candidate", isReference: false, hasDeadline: true, alpha: 0.05 };

const live = (blockId: number, change: Partial<Extract<EvidenceEvent, { type: "live" }>> = {}) =>
  ({
    type: "live",
    blockId,
    seconds: 1e-3,
    missed: false,
    timeValid: true,
    phase: "steady",
    ...change,
  }) as const;

const comparison = (blockId: number, flip = false) =>
  ({ type: "comparison", blockId, difference: { result: "within", flip } }) as const;

describe("evidence", () => {
  test("counts one request per block, chosen evenly and without regard to its outcome", () => {
    const evidence = freshEvidence(3);
    // In every block of five the third misses: a fair choice takes it in a fifth of the blocks.
    for (let request = 0; request < 20_000; request += 1)
      evidence.add(live(Math.floor(request / 5), { missed: request % 5 === 2 }));
    const { events, n } = evidence.rates.liveMiss.whole;
    expect(n).toBe(3999);
    expect(events / n).toBeGreaterThan(0.18);
    expect(events / n).toBeLessThan(0.22);
    expect(evidence.counts).toMatchObject({ live: 20_000, missed: 4000 });
  });

  test("every run is one attempt: a comparison is none of its own", () => {
    const evidence = freshEvidence();
    for (let block = 0; block < 10; block += 1) {
      evidence.add(block === 3 ? { type: "error", blockId: block } : { type: "ran", blockId: block });
      if (block !== 3) evidence.add(comparison(block));
    }
    evidence.add({ type: "ran", blockId: 10 });
    expect(evidence.rates.error.whole).toEqual({ events: 1, n: 10 });
    expect(evidence.rates.flip.whole.n).toBe(8);
  });

  test("the block under way counts once nothing more is to come", () => {
    const evidence = freshEvidence();
    evidence.add(live(0));
    evidence.add(comparison(0, true));
    evidence.add(pair(0, 1e-3, 1e-3));
    expect([evidence.rates.liveMiss.whole.n, evidence.rates.flip.whole.n]).toEqual([0, 0]);
    evidence.flush();
    evidence.flush();
    expect([evidence.rates.liveMiss.whole.n, evidence.rates.flip.whole]).toEqual([1, { events: 1, n: 1 }]);
    expect(evidence.pairs.steady.whole.control.count).toBe(1);
  });

  test("one that is late for its block still counts", () => {
    const evidence = freshEvidence();
    evidence.add(live(7));
    evidence.add(live(8));
    evidence.add(live(6, { missed: true }));
    evidence.add(live(9));
    expect(evidence.rates.liveMiss.whole.n).toBe(2);
    expect(evidence.counts.missed).toBe(1);
  });

  test("tells warm-up, after-idle, steady and throttled apart", () => {
    const evidence = freshEvidence();
    evidence.add(live(0, { phase: "warmUp", seconds: 1, missed: true }));
    evidence.add(live(1, { phase: "afterIdle", seconds: 0.1 }));
    evidence.add(live(2, { timeValid: false, seconds: 0.5, missed: true }));
    evidence.add(live(3));
    evidence.add(live(4));
    expect(
      Object.entries(evidence.live).map(([phase, { count, maximum }]) => [phase, count, maximum]),
    ).toEqual([
      ["warmUp", 1, 1],
      ["afterIdle", 1, 0.1],
      ["steady", 2, 1e-3],
      ["throttled", 1, 0.5],
    ]);
    // Neither the warm-up nor the throttled miss is held against it.
    expect(evidence.rates.liveMiss.whole).toEqual({ events: 0, n: 2 });
  });

  test("a request without an answer is a miss, and its time is none", () => {
    const evidence = freshEvidence();
    for (let block = 0; block < 10; block += 1) {
      evidence.add(block % 2 === 0 ? live(block) : { type: "late", blockId: block, timeValid: true });
      evidence.add({ type: "late", blockId: block, timeValid: false });
    }
    evidence.add(live(10));
    expect(evidence.rates.liveMiss.whole).toEqual({ events: 5, n: 10 });
    expect(evidence.counts).toMatchObject({ live: 6, missed: 5, unanswered: 5 });
    expect(evidence.live.steady.count).toBe(6);
  });

  test("a pair whose time does not count leaves the latency rules as they were", () => {
    const evidence = freshEvidence();
    for (let request = 0; request < 100; request += 1)
      evidence.add(pair(request, 1e-3, 1, { timeValid: false }));
    for (let request = 0; request < 100; request += 1)
      evidence.add(pair(request, 1e-3, 1, { phase: "warmUp" }));
    expect(evidence.pairs.steady.whole.control.count).toBe(0);
    expect(evidence.counts).toMatchObject({ pairs: 200, pairsWithoutTime: 100, pairsWarmUp: 100 });
  });

  test("goes on after a snapshot as if nothing had happened", () => {
    const random = createRandom(4);
    const time = latencies("bursty", random);
    const events = Array.from({ length: 60_000 }, (_, request): EvidenceEvent => {
      const blockId = Math.floor(request / 10);
      switch (request % 4) {
        case 0:
          return pair(request, time(), time(), { phase: request % 40 === 0 ? "afterIdle" : "steady" });
        case 1:
          return comparison(blockId, random.next() < 0.01);
        case 2:
          return live(blockId, { seconds: time() });
        default:
          return random.next() < 0.01 ? { type: "error", blockId } : { type: "device", state: "ok" };
      }
    });
    const whole = freshEvidence(8, 3e-3);
    for (const event of events) whole.add(event);

    // Half-way, between two pairs' jitter: the next pair's distance from the one before is the only thing lost.
    const first = freshEvidence(8, 3e-3);
    for (const event of events.slice(0, 30_000)) first.add(event);
    const stored = JSON.stringify(first.snapshot());
    const second = createEvidence({
      key: first.key,
      seed: 0,
      deadlineSeconds: 3e-3,
      snapshot: JSON.parse(stored),
    });
    expect(JSON.stringify(second.snapshot())).toBe(stored);
    for (const event of events.slice(30_000)) second.add(event);
    const without = (verdicts: ReturnType<typeof judge>) =>
      verdicts.filter(({ rule }) => rule !== "jitterRatio");
    expect(without(judge(second, candidate))).toEqual(without(judge(whole, candidate)));
    expect(second.counts).toEqual(whole.counts);
  });

  test("pairs begin anew with another control, at their price, and nothing else does", () => {
    const rules = [{ rule: "pairedSlowdown" }, { rule: "latencyP99Ratio" }, { rule: "flipRatio" }] as const;
    const evidence = freshEvidence(1, 5e-3);
    evidence.add({ type: "control", digest: "slow" });
    for (let block = 0; block < 3000; block += 1) {
      evidence.add(pair(block * perBlock, 10e-3, 1e-3));
      evidence.add(comparison(block, block % 10 === 0));
    }
    const before = judge(evidence, { ...candidate, rules });
    expect(before.map(({ verdict }) => verdict)).toEqual(["pass", "pass", "fail"]);
    expect(evidence.pairs.discordant.controlLate).toBeGreaterThan(0);

    // Five times slower than the one that is active now, which a mix with the pairs before would hide.
    evidence.add({ type: "control", digest: "quick" });
    const [slowdown, p99, flips] = judge(evidence, { ...candidate, rules });
    for (const verdict of [slowdown, p99])
      expect(verdict).toMatchObject({ verdict: "inconclusive", have: 0 });
    expect(slowdown?.alpha).toBeCloseTo((before[0]?.alpha as number) / 3);
    expect(flips).toEqual(before[2]);
    expect(evidence.pairs).toMatchObject({
      restarts: 1,
      discordant: { candidateLate: 0, controlLate: 0 },
      addedMiss: { whole: { n: 0 } },
    });
    expect(evidence.restarts).toBe(0);
    for (let block = 3000; block < 4000; block += 1) evidence.add(pair(block * perBlock, 0.2e-3, 1e-3));
    expect(judge(evidence, { ...candidate, rules })[0]?.verdict).toBe("fail");

    // Kept over a restart of the gateway; the same control again changes nothing.
    const snapshot = JSON.parse(JSON.stringify(evidence.snapshot()));
    const after = createEvidence({ key: evidence.key, seed: 0, deadlineSeconds: 5e-3, snapshot });
    after.add({ type: "control", digest: "quick" });
    expect(after.pairs).toMatchObject({ control: "quick", restarts: 1 });
    expect(after.pairs.steady.whole.ratio.count).toBe(evidence.pairs.steady.whole.ratio.count);
  });

  test("a control that no pair was run against has cost nothing", () => {
    const evidence = freshEvidence();
    for (const digest of ["a", "b", "c"]) evidence.add({ type: "control", digest });
    expect(evidence.pairs).toMatchObject({ control: "c", restarts: 0 });
  });

  test("goes on at once when the clock began anew with the gateway", () => {
    const before = freshEvidence();
    for (let block = 1000; block < 1010; block += 1) before.add(comparison(block));
    const after = createEvidence({ key: before.key, seed: 0, snapshot: before.snapshot() });
    for (let block = 0; block < 10; block += 1) after.add(comparison(block));
    expect(after.rates.flip.whole.n).toBe(19);
  });

  test("a decision that could not be read counts for divergence alone", () => {
    const evidence = freshEvidence();
    const unread = { result: "within", flip: undefined, undecided: "set detection" } as const;
    for (let block = 0; block < 20_000; block += 1)
      evidence.add({ type: "comparison", blockId: block, difference: unread });
    expect(evidence.rates.flip.whole.n).toBe(0);
    expect(evidence.counts).toMatchObject({ comparisons: 20_000, undecided: 20_000, flips: 0 });
    const verdicts = new Map(judge(evidence, candidate).map(({ rule, verdict }) => [rule, verdict]));
    expect(verdicts.get("flipRatio")).toBe("inconclusive");
    expect(verdicts.get("divergence")).toBe("pass");
    const resumed = createEvidence({
      key: evidence.key,
      seed: 0,
      snapshot: JSON.parse(JSON.stringify(evidence.snapshot())),
    });
    expect([freshEvidence(), evidence, resumed].map((each) => each.undecidedReason)).toEqual([
      null,
      "set detection",
      "set detection",
    ]);
    resumed.add(comparison(1));
    resumed.add(comparison(2));
    expect(resumed.rates.flip.whole.n).toBe(1);
  });

  test("its snapshot stays small however long it runs", () => {
    const evidence = freshEvidence();
    const random = createRandom(5);
    const time = latencies("independent", random);
    const sizes: number[] = [];
    for (let request = 0; request < 200_000; request += 1) {
      evidence.add(pair(request * 10, time(), time()));
      evidence.add(comparison(request));
      if (request % 50_000 === 49_999) sizes.push(JSON.stringify(evidence.snapshot()).length);
    }
    expect(Math.max(...sizes)).toBeLessThan(40_000);
  });
});

describe("verdicts", () => {
  test("without evidence every rule is inconclusive and says how much it needs", () => {
    const verdicts = judge(freshEvidence(), candidate);
    expect(verdicts).toHaveLength(8);
    for (const { verdict, have, rule } of verdicts) {
      expect(verdict, rule).toBe("inconclusive");
      expect(have).toBe(0);
    }
    const need = new Map(verdicts.map((verdict) => [verdict.rule, verdict.need]));
    // Nothing seen yet: as many blocks as are needed if nothing ever happens.
    expect(need.get("flipRatio")).toBeGreaterThan(4000);
    expect(need.get("flipRatio")).toBeLessThan(20_000);
    // And as many as bound a p99 at all, were both engines alike.
    expect(need.get("latencyP99Ratio")).toBeGreaterThan(800);
    expect(need.get("latencyP99Ratio")).toBeLessThan(2000);
    expect(JSON.parse(JSON.stringify(verdicts))).toEqual(verdicts);
  });

  test("the projection holds: after that many more blocks the rule has decided, and not long before", () => {
    const evidence = freshEvidence();
    for (let block = 0; block <= 1000; block += 1) evidence.add(comparison(block));
    const flips = () => judge(evidence, candidate).find(({ rule }) => rule === "flipRatio");
    const first = flips();
    expect(first).toMatchObject({ verdict: "inconclusive", have: 1000, source: "comparison" });
    expect(first?.reason).toContain(`needs ${first?.need} more blocks`);
    const need = first?.need as number;
    for (let block = 1001; block <= 1000 + Math.floor(need * 0.97); block += 1)
      evidence.add(comparison(block));
    expect(flips()?.verdict).toBe("inconclusive");
    for (let block = 1001 + Math.floor(need * 0.97); block <= 1000 + need; block += 1)
      evidence.add(comparison(block));
    expect(flips()).toMatchObject({ verdict: "pass", need: 0, scope: "whole" });
  });

  test("only rules with something to judge apply", () => {
    const names = (options: Partial<JudgeOptions>) =>
      judge(freshEvidence(), { ...candidate, ...options }).map(({ rule }) => rule);
    expect(names({ role: "active", isReference: true, hasDeadline: false })).toEqual([
      "errorRatio",
      "deviceHealth",
    ]);
    expect(names({ role: "active" })).toEqual([
      "deadlineMissRatio",
      "flipRatio",
      "divergence",
      "errorRatio",
      "deviceHealth",
    ]);
    expect(names({ rules: [{ rule: "flipRatio", threshold: 0.05 }] })).toEqual(["flipRatio"]);
  });

  test("alpha is split over the rules that spend some, and over restarts", () => {
    const alphaOf = (options: Partial<JudgeOptions>, restarts = 0) =>
      judge(createEvidence({ key: freshEvidence().key, seed: 1, restarts }), {
        ...candidate,
        ...options,
      }).map(({ alpha }) => alpha);
    expect(alphaOf({}).reduce((sum, alpha) => sum + alpha, 0)).toBeCloseTo((7 / 8) * (0.05 / 2), 12);
    // Evidence outlives a role: whatever an engine becomes, all that is ever asked of it shares alpha.
    const life = new Map<string, number>();
    for (const role of ["candidate", "canary", "active"] as const)
      for (const { rule, source, alpha } of judge(freshEvidence(), { ...candidate, role }))
        life.set(rule === "deadlineMissRatio" ? `${rule} ${source}` : rule, alpha);
    expect([...life.values()].reduce((sum, alpha) => sum + alpha, 0)).toBeCloseTo(0.05 / 2, 12);
    expect(alphaOf({ rules: [{ rule: "flipRatio" }, { rule: "deviceHealth" }] })).toEqual([0.025, 0]);
    expect(alphaOf({ rules: [{ rule: "flipRatio" }] }, 1)[0]).toBeCloseTo(0.05 / 6, 12);
    let spent = 0;
    for (let restart = 0; restart < 1000; restart += 1)
      spent += alphaOf({ rules: [{ rule: "flipRatio" }] }, restart)[0] as number;
    expect(spent).toBeLessThanOrEqual(0.05);
  });

  test("a threshold of 0 fails on the first event and never passes", () => {
    const evidence = freshEvidence();
    const rules = [{ rule: "flipRatio", threshold: 0 }] as const;
    for (let block = 0; block < 100; block += 1) evidence.add(comparison(block));
    expect(judge(evidence, { ...candidate, rules })[0]).toMatchObject({
      verdict: "inconclusive",
      need: null,
    });
    evidence.add(comparison(100, true));
    evidence.add(comparison(101));
    expect(judge(evidence, { ...candidate, rules })[0]?.verdict).toBe("fail");
  });

  test("misses that control and candidate share are not held against the candidate", () => {
    const evidence = freshEvidence(1, 1e-3);
    const random = createRandom(6);
    const rules = [{ rule: "deadlineMissRatio" }] as const;
    // Both miss a twentieth of the time, each by itself: five times the threshold, but no difference.
    const time = () => (random.next() < 0.05 ? 2e-3 : 0.5e-3);
    for (let request = 0; request < 50_000; request += 1) evidence.add(pair(request, time(), time()));
    expect(judge(evidence, { ...candidate, rules })[0]).toMatchObject({
      verdict: "inconclusive",
      source: "shadow",
    });
    for (let request = 50_000; request < 80_000; request += 1)
      evidence.add(pair(request, 0.5e-3, random.next() < 0.1 ? 2e-3 : 0.5e-3));
    expect(judge(evidence, { ...candidate, rules })[0]?.verdict).toBe("fail");
  });

  test("an active or canary engine answers for its own live misses", () => {
    const evidence = freshEvidence(1, 1e-3);
    for (let block = 0; block < 500; block += 1) evidence.add(live(block, { missed: block % 10 === 0 }));
    for (const role of ["active", "canary"] as const) {
      const [verdict] = judge(evidence, { ...candidate, role, rules: [{ rule: "deadlineMissRatio" }] });
      expect(verdict).toMatchObject({ verdict: "fail", source: "live", unit: "blocks" });
    }
  });

  test("a model so seldom asked that each pair follows a pause is judged by those", () => {
    const evidence = freshEvidence();
    const seldom = (block: number, seconds: number) =>
      evidence.add(pair(block * perBlock, 1e-3, seconds, { phase: "afterIdle" }));
    const slowdown = () => judge(evidence, { ...candidate, rules: [{ rule: "pairedSlowdown" }] })[0];
    for (let block = 0; block < 500; block += 1) seldom(block, 0.9e-3);
    expect(slowdown()).toMatchObject({ verdict: "pass", scope: "afterIdle", have: 499 });
    for (let block = 500; block < 3000; block += 1) seldom(block, 1.5e-3);
    expect(slowdown()).toMatchObject({ verdict: "fail", scope: "afterIdle", have: 2999 });
    // Where others come as well they speak, though there are more after pauses.
    const both = freshEvidence();
    for (let block = 0; block < 1600; block += 1) {
      const phase = block % 4 === 0 ? "steady" : "afterIdle";
      const steady = block % 8 === 0 ? 1e-3 : 1.12e-3;
      both.add(pair(block * perBlock, 1e-3, phase === "steady" ? steady : 0.9e-3, { phase }));
    }
    expect(judge(both, { ...candidate, rules: [{ rule: "pairedSlowdown" }] })[0]).toMatchObject({
      verdict: "inconclusive",
      scope: "whole",
    });
  });

  test("device health: throttling is inconclusive, no readings pass", () => {
    const evidence = freshEvidence();
    const health = () => judge(evidence, { ...candidate, rules: [{ rule: "deviceHealth" }] })[0];
    for (let block = 0; block < 200; block += 1) evidence.add(live(block));
    expect(health()).toMatchObject({ verdict: "pass", have: 200, reason: "no device readings" });
    evidence.add({ type: "device", state: "throttled" });
    expect(health()?.verdict).toBe("inconclusive");
    for (let block = 200; block < 300; block += 1) evidence.add(live(block));
    evidence.add({ type: "device", state: "ok" });
    const throttled = health();
    expect(throttled?.verdict).toBe("inconclusive");
    for (let i = 0; i < (throttled?.need as number); i += 1) evidence.add(live(300 + i));
    expect(health()?.verdict).toBe("pass");
  });
});
