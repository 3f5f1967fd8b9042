import { describe, expect, test } from "vitest";
import type { Evidence, EvidenceEvent } from "../../src/audit/evidence.ts";
import type { Verdict } from "../../src/audit/rules/rule.ts";
import { judge } from "../../src/audit/verdict.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import { createRandom, type Random } from "../../src/compare/statistics/random.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { freshEvidence, latencies, pair, perBlock } from "./traffic.ts";

/*
 * The faults of issue 5, injected into a candidate that is otherwise like the control, with every rule on, its default
 * threshold and alpha 0.05 for all. Each is found on every seed, within the blocks given (1 block: 1 s by default).
 */
describe("an injected bad candidate is found", () => {
  test("wrong class in 1 of 200 inputs", () => {
    const found = faultFound(9000, (random) => (request) => [
      comparison(request, random.next() < 1 / 200 ? scores([0.1, 2, 0.3]) : reference),
    ]);
    expect(found.map(({ rule }) => rule)).toEqual(Array(5).fill("flipRatio"));
  });

  test("3 % of requests ten times slower", () => {
    const found = faultFound(4000, (random) => {
      const control = latencies("independent", random);
      const candidate = latencies("independent", random);
      return (request) => [pair(request, control(), candidate() * (random.next() < 0.03 ? 10 : 1))];
    });
    for (const { rule } of found)
      expect(["latencyP99Ratio", "deadlineMissRatio", "jitterRatio"]).toContain(rule);
  });

  test("slow drift after a long time without fault, seen in its epoch while the whole still looks good", () => {
    const found = faultFound(10_000, (random) => {
      const control = latencies("independent", random);
      const candidate = latencies("independent", random);
      // From block 4000 on, 1 % slower every 100 blocks.
      const slower = (block: number) => 1 + Math.max(0, block - 4000) / 10_000;
      return (request) => [pair(request, control(), candidate() * slower(request / perBlock))];
    });
    for (const verdict of found) expect(verdict).toMatchObject({ rule: "pairedSlowdown", scope: "recent" });
  });

  test("NaN on 1 % of inputs", () => {
    const found = faultFound(4000, (random) => (request) => [
      comparison(request, random.next() < 0.01 ? scores([2, Number.NaN, 1]) : reference),
    ]);
    for (const { rule } of found) expect(rule).toBe("divergence");
  });

  test("right values in the wrong output, within ten blocks", () => {
    const found = faultFound(10, () => (request) => [
      {
        type: "comparison",
        blockId: Math.floor(request / perBlock),
        difference: compareOutputs(
          [named("a", [1, 2]), named("b", [3, 4])],
          [named("a", [3, 4]), named("b", [1, 2])],
          { task: "tensor" },
        ),
      },
    ]);
    for (const { rule } of found) expect(rule).toBe("divergence");
  });

  test("crash on 1 % of inputs", () => {
    const found = faultFound(4000, (random) => (request) => [
      { type: random.next() < 0.01 ? "error" : "ran", blockId: Math.floor(request / perBlock) },
    ]);
    for (const { rule } of found) expect(rule).toBe("errorRatio");
  });

  test("slower only after idle", () => {
    const found = faultFound(3000, (random) => {
      const control = latencies("independent", random);
      const candidate = latencies("independent", random);
      return (request) => {
        const phase = request % 200 === 0 ? "afterIdle" : "steady";
        const factor = phase === "afterIdle" ? 1.5 : 1;
        return [pair(request, control(), candidate() * factor, { phase })];
      };
    });
    for (const verdict of found)
      expect(verdict).toMatchObject({ rule: "pairedSlowdown", scope: "afterIdle" });
  });
});

test("an engine as good as the control and equal in output passes every rule", () => {
  const random = createRandom(9);
  const evidence = freshEvidence(1, 20e-3);
  const control = latencies("independent", random);
  const candidate = latencies("independent", random);
  for (let request = 0; request < 9000 * perBlock; request += 1) {
    evidence.add(pair(request, control(), candidate()));
    evidence.add({ type: "ran", blockId: Math.floor(request / perBlock) });
    evidence.add(comparison(request, reference));
  }
  expect(verdictsOf(evidence).map(({ rule, verdict }) => `${rule} ${verdict}`)).toEqual([
    "deadlineMissRatio pass",
    "latencyP99Ratio pass",
    "jitterRatio pass",
    "pairedSlowdown pass",
    "flipRatio pass",
    "divergence pass",
    "errorRatio pass",
    "deviceHealth pass",
  ]);
});

/** The first failing verdict on each of five seeds; none of them may miss the fault. */
function faultFound(
  blocks: number,
  stream: (random: Random) => (request: number) => EvidenceEvent[],
): Verdict[] {
  return [1, 2, 3, 4, 5].map((seed) => {
    const next = stream(createRandom(seed));
    const evidence = freshEvidence(seed, 5e-3);
    const every = Math.min(50, blocks) * perBlock;
    for (let request = 0; request <= blocks * perBlock; request += 1) {
      for (const event of next(request)) evidence.add(event);
      if (request % every !== 0) continue;
      const fail = verdictsOf(evidence).find(({ verdict }) => verdict === "fail");
      if (fail !== undefined) return fail;
    }
    throw new Error(`not found in ${blocks} blocks: ${JSON.stringify(verdictsOf(evidence), null, 1)}`);
  });
}

function verdictsOf(evidence: Evidence): Verdict[] {
  return judge(evidence, { role: "candidate", isReference: false, hasDeadline: true, alpha: 0.05 });
}

function named(name: string, values: number[]): Tensor {
  return {
    name,
    datatype: "FP32",
    shape: [1, values.length],
    data: new Uint8Array(Float32Array.from(values).buffer),
  };
}

function scores(values: number[]): Tensor {
  return named("scores", values);
}

const reference = scores([2, 0.1, 0.3]);

function comparison(request: number, candidate: Tensor): EvidenceEvent {
  // A wide tolerance: only the decision and what cannot be compared count here.
  const difference = compareOutputs([reference], [candidate], {
    task: "classification",
    tolerance: { abs: 10 },
  });
  return { type: "comparison", blockId: Math.floor(request / perBlock), difference };
}
