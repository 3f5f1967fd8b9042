import { createEvidence } from "../src/audit/evidence.ts";
import { judge } from "../src/audit/verdict.ts";
import { compareOutputs } from "../src/compare/compare.ts";
import type { CompareOptions } from "../src/compare/options.ts";
import { createRandom } from "../src/compare/statistics/random.ts";
import type { Tensor } from "../src/core/tensor.ts";

/**
 * Time of one comparison with every metric; with `--memory` also the memory of comparing and of one engine's evidence
 * over a million comparisons.
 *
 *     node --expose-gc --import tsx bench/compare.ts [--memory]
 */
const random = createRandom(1);

function tensor(name: string, shape: number[], value: (i: number) => number): Tensor {
  const elements = shape.reduce((product, n) => product * n, 1);
  const data = Float32Array.from({ length: elements }, (_, i) => value(i));
  return { name, datatype: "FP32", shape, data: new Uint8Array(data.buffer) };
}

/** The same outputs, each value off by about a part in a million. */
function perturbed(outputs: readonly Tensor[]): Tensor[] {
  return outputs.map((output) => {
    const values = new Float32Array(output.data.slice().buffer);
    for (const [i, value] of values.entries()) values[i] = value * (1 + (random.next() - 0.5) * 2e-6);
    return { ...output, data: new Uint8Array(values.buffer) };
  });
}

const boxes = tensor("boxes", [1, 4420, 4], (i) => (i % 4 < 2 ? 0.4 : 0.6) + (random.next() - 0.5) * 0.3);
const scores = tensor("scores", [1, 4420, 2], (i) => (i % 2 === 0 ? 0.9 : random.next() ** 40));
const logits = tensor("scores", [1, 1000], () => random.next() * 20 - 10);
const pixels = tensor("mask", [1, 21, 128, 128], () => random.next());

const cases: readonly { name: string; outputs: readonly Tensor[]; options: CompareOptions }[] = [
  { name: "[1,4420,4] tensor", outputs: [boxes], options: { task: "tensor" } },
  {
    name: "[1,4420,2] and [1,4420,4] detection",
    outputs: [scores, boxes],
    options: {
      task: "detection",
      detection: {
        scores: "scores",
        boxes: "boxes",
        format: "corners",
        background: 0,
        scoreThreshold: 0.7,
        nmsIou: 0.3,
        matchIou: 0.5,
      },
    },
  },
  { name: "[1,1000] classification", outputs: [logits], options: { task: "classification" } },
  { name: "[1,21,128,128] segmentation", outputs: [pixels], options: { task: "segmentation" } },
];

console.log("comparison, different outputs".padEnd(40), "p50 us".padStart(10), "p99 us".padStart(10));
for (const { name, outputs, options } of cases) {
  const candidate = perturbed(outputs);
  const rounds = name.includes("segmentation") ? 200 : 2000;
  const times = new Float64Array(rounds);
  for (let round = -rounds / 4; round < rounds; round += 1) {
    const start = performance.now();
    compareOutputs(outputs, candidate, options);
    if (round >= 0) times[round] = (performance.now() - start) * 1000;
  }
  times.sort();
  const at = (p: number) => (times[Math.floor(rounds * p)] as number).toFixed(1).padStart(10);
  console.log(name.padEnd(40), at(0.5), at(0.99));
}

if (process.argv.includes("--memory")) {
  const small = tensor("scores", [1, 43], () => random.next());
  const other = perturbed([small]);
  const evidence = createEvidence({
    key: { model: "m", engine: "e", referenceDigest: "r", engineDigest: "e" },
    seed: 1,
  });
  let pairs = 0;
  for (let quarter = 0; quarter <= 4; quarter += 1) {
    globalThis.gc?.();
    const { rss, heapUsed } = process.memoryUsage();
    console.log(
      `${pairs} comparisons: rss ${Math.round(rss / 1e6)} MB, heap ${(heapUsed / 1e6).toFixed(1)} MB, stored evidence ${JSON.stringify(evidence.snapshot()).length} bytes`,
    );
    for (let i = 0; i < 250_000; i += 1, pairs += 1) {
      const difference = compareOutputs([small], other, { task: "classification" });
      const seconds = () => 1e-3 * (1 + random.next());
      evidence.add({ type: "comparison", blockId: pairs, difference });
      evidence.add({
        type: "pair",
        blockId: pairs,
        controlSeconds: seconds(),
        candidateSeconds: seconds(),
        order: "controlFirst",
        timeValid: true,
        phase: "steady",
      });
    }
  }
  const start = performance.now();
  for (let i = 0; i < 100; i += 1)
    judge(evidence, { role: "candidate", isReference: false, hasDeadline: true, alpha: 0.05 });
  console.log(`verdicts of all rules: ${((performance.now() - start) / 100).toFixed(2)} ms`);
}
