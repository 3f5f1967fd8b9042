import { describe, expect, test } from "vitest";
import type { Evidence, EvidenceEvent } from "../../src/audit/evidence.ts";
import { deadlineMissRatio } from "../../src/audit/rules/deadline-miss-ratio.ts";
import { divergence, errorRatio, flipRatio } from "../../src/audit/rules/event-ratio.ts";
import { jitterRatio, latencyP99Ratio, pairedSlowdown } from "../../src/audit/rules/pair-ratio.ts";
import type { Rule } from "../../src/audit/rules/rule.ts";
import { judge } from "../../src/audit/verdict.ts";
import { createRandom, type Random } from "../../src/compare/statistics/random.ts";
import { dependences, events, freshEvidence, latencies, pair, perBlock, type Dependence } from "./traffic.ts";

/*
 * Engines exactly at the threshold, where false alarms are most likely, looked at again and again. Seeds are fixed,
 * so the counts below are always the same; each must stay within alpha plus two points.
 */
const alpha = 0.05;
const allowed = alpha + 0.02;

/** Share of streams on which the rule ever says fail. */
function falseAlarms(
  rule: Rule,
  role: "active" | "candidate",
  runs: number,
  blocks: number,
  stream: (random: Random) => (request: number) => EvidenceEvent,
): number {
  let alarms = 0;
  for (let run = 0; run < runs; run += 1) {
    const next = stream(createRandom(run * 7919 + 1));
    const evidence = freshEvidence(run, 3e-3);
    for (let request = 0; request < blocks * perBlock; request += 1) {
      evidence.add(next(request));
      // A look every 20 blocks early on, every 100 later.
      const block = request / perBlock;
      if (!Number.isInteger(block) || block % (block < 400 ? 20 : 100) !== 0) continue;
      if (rule.judge(evidence, { role, alpha, threshold: rule.threshold }).verdict === "fail") {
        alarms += 1;
        break;
      }
    }
  }
  return alarms / runs;
}

describe.each(dependences)("%s engines at the threshold", (dependence) => {
  test.each([latencyP99Ratio, jitterRatio, pairedSlowdown])("$name", (rule) => {
    const alarms = falseAlarms(rule, "candidate", 100, 1200, (random) => {
      const control = latencies(dependence, random);
      const candidate = latencies(dependence, random);
      return (request) => pair(request, control(), candidate() * rule.threshold);
    });
    expect(alarms).toBeLessThanOrEqual(allowed);
  });

  // The hardest case: each engine's own lateness reaches from one block into the next. 300 streams, since 100 tell 5 % from
  // 8 % badly.
  const hard = dependence === "autocorrelated" ? 300 : 100;
  test("deadlineMissRatio of a candidate that is late as often as the control, far beyond the threshold", () => {
    let added = 0;
    const alarms = falseAlarms(deadlineMissRatio, "candidate", hard, 1200, (random) => {
      const control = latencies(dependence, random);
      const candidate = latencies(dependence, random);
      return (request) => {
        // Late in 3 to 18 % of all runs at the deadline of 3 ms, so that only discordant pairs speak.
        const times = [control() * 2.5, candidate() * 2.5] as const;
        if (times[0] <= 3e-3 && times[1] > 3e-3) added += 1;
        return pair(request, ...times);
      };
    });
    expect(added / (hard * 1200 * perBlock)).toBeGreaterThan(2 * deadlineMissRatio.threshold);
    expect(alarms).toBeLessThanOrEqual(allowed);
    console.log(dependence, alarms, hard);
  }, 60_000);

  const rates: [Rule, "active" | "candidate", (request: number, event: boolean) => EvidenceEvent][] = [
    [
      deadlineMissRatio,
      "active",
      (request, missed) => ({
        type: "live",
        blockId: Math.floor(request / perBlock),
        seconds: 1e-3,
        missed,
        timeValid: true,
        phase: "steady",
      }),
    ],
    [flipRatio, "candidate", (request, flip) => comparison(request, { result: "within", flip })],
    [
      divergence,
      "candidate",
      (request, outside) => comparison(request, { result: outside ? "diverged" : "within", flip: false }),
    ],
    [
      errorRatio,
      "candidate",
      (request, failed) => ({ type: failed ? "error" : "ran", blockId: Math.floor(request / perBlock) }),
    ],
  ];
  test.each(rates.map(([rule, role, event]) => ({ name: rule.name, rule, role, event })))(
    "$name",
    ({ rule, role, event }) => {
      const alarms = falseAlarms(rule, role, 80, 1000, (random) => {
        const happens = events(dependence, rule.threshold, random);
        return (request) => event(request, happens());
      });
      expect(alarms).toBeLessThanOrEqual(allowed);
    },
  );
});

test("without blocks, bursts would give the errors that they are there to prevent", () => {
  const alarms = falseAlarms(deadlineMissRatio, "active", 100, 300, (random) => {
    const happens = events("bursty", 0.01, random);
    return (request) => ({
      type: "live",
      blockId: request,
      seconds: 1e-3,
      missed: happens(),
      timeValid: true,
      phase: "steady",
    });
  });
  expect(alarms).toBeGreaterThan(0.2);
});

test.each(dependences)(
  "an engine like the control: all rules together stay within alpha (%s)",
  (dependence) => {
    let alarms = 0;
    for (let run = 0; run < 50; run += 1) {
      const evidence = freshEvidence(run, 3e-3);
      const next = likeControl(dependence, createRandom(run * 104_729 + 3));
      if (everFails(evidence, next, 1000)) alarms += 1;
    }
    expect(alarms / 50).toBeLessThanOrEqual(allowed);
  },
);

function likeControl(dependence: Dependence, random: Random): (request: number) => EvidenceEvent[] {
  const control = latencies(dependence, random);
  const candidate = latencies(dependence, random);
  const flips = events(dependence, 0.001, random);
  return (request) => [
    pair(request, control(), candidate()),
    comparison(request, { result: "within", flip: flips() }),
  ];
}

function everFails(evidence: Evidence, next: (request: number) => EvidenceEvent[], blocks: number): boolean {
  for (let request = 0; request < blocks * perBlock; request += 1) {
    for (const event of next(request)) evidence.add(event);
    if (request % (100 * perBlock) !== 0) continue;
    const verdicts = judge(evidence, { role: "candidate", isReference: false, hasDeadline: true, alpha });
    if (verdicts.some(({ verdict }) => verdict === "fail")) return true;
  }
  return false;
}

function comparison(
  request: number,
  difference: Extract<EvidenceEvent, { type: "comparison" }>["difference"],
): EvidenceEvent {
  return { type: "comparison", blockId: Math.floor(request / perBlock), difference };
}
