import { describe, expect, it } from "vitest";
import { createPairFigures } from "../../src/audit/offline/pair-figures.ts";
import { checkRows } from "../../src/audit/offline/self-checks.ts";
import { slowTogether } from "../../src/audit/offline/slow-together.ts";
import { speedTest } from "../../src/audit/offline/speed-test.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import type { Tensor } from "../../src/core/tensor.ts";

function tensor(name: string, shape: readonly number[], values: readonly number[]): Tensor {
  return { name, datatype: "FP32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

describe("figures of a pair", () => {
  const detection = {
    scores: "s",
    boxes: "b",
    format: "corners",
    scoreThreshold: 0.5,
    nmsIou: 0.5,
    matchIou: 0.5,
  } as const;

  it("adds up detections over the inputs", () => {
    const outputs = (first: number, second: number) => [
      tensor("s", [1, 2, 1], [first, second]),
      tensor("b", [1, 2, 4], [0, 0, 1, 1, 2, 2, 3, 3]),
    ];
    const figures = createPairFigures("a", "b");
    const add = (ours: Tensor[], theirs: Tensor[]) =>
      figures.add(compareOutputs(ours, theirs, { task: "detection", detection }));
    expect(figures.result().detection).toBeNull();
    add(outputs(0.9, 0.1), outputs(0.8, 0.1));
    add(outputs(0.9, 0.6), outputs(0.9, 0.1));
    const { flips, detection: sum, segmentation } = figures.result();
    expect(flips).toBe(1);
    expect(sum).toMatchObject({ reference: 3, candidate: 2, matched: 2, changed: 1, classFlips: 0 });
    expect(sum?.maxScoreDifference).toBeCloseTo(0.1);
    expect(sum?.minIouRatio).toBe(1);
    expect(segmentation).toBeNull();
  });

  it("count flips of the decisions that could be read, and tell why others could not", () => {
    const figures = createPairFigures("a", "b");
    const outputs = (name: string) => [tensor(name, [1, 2], [0, 1])];
    for (let i = 0; i < 3; i += 1)
      figures.add(compareOutputs(outputs("logits"), outputs("logits"), { task: "detection", detection }));
    expect(figures.result()).toMatchObject({ samples: 3, bitEqual: 3, decided: 0, flips: 0, reason: null });
    expect(figures.result()).toMatchObject({
      flipUpperBoundRatio: null,
      undecidedReason: expect.stringContaining('"s"'),
    });
    figures.add(compareOutputs(outputs("c"), outputs("c"), { task: "classification" }));
    expect(figures.result()).toMatchObject({ samples: 4, decided: 1 });
  });

  it("adds up pixels, and tells the worst input", () => {
    const figures = createPairFigures("a", "b");
    const add = (ours: readonly number[], theirs: readonly number[]) =>
      figures.add(
        compareOutputs([tensor("m", [1, 1, 2, 2], ours)], [tensor("m", [1, 1, 2, 2], theirs)], {
          task: "segmentation",
        }),
      );
    add([0, 1, 0, 1], [0, 1, 0, 1]);
    add([0, 1, 0, 1], [1, 1, 0, 1]);
    expect(figures.result().segmentation).toEqual({ pixels: 8, flips: 1, worstInputFlipRatio: 0.25 });
  });
});

describe("equal rows of a batch", () => {
  const input = tensor("x", [1, 2], [1, 2]);
  const remembered = [{ tensors: [input], outputs: [tensor("y", [1, 1], [3])] }];
  const answering = (...rows: readonly number[]) => ({
    infer: () =>
      Promise.resolve({
        outputs: [tensor("y", [4, 1], rows)],
        engineSeconds: 0,
        hostSeconds: 0,
        queueSeconds: 0,
        deviceSeconds: undefined,
        instance: 0,
      }),
  });
  const spec = (batch: number) => [{ name: "x", datatype: "FP32" as const, shape: [batch, 2] }];

  it("must get equal answers", async () => {
    const check = (...rows: readonly number[]) =>
      checkRows(answering(...rows), spec(-1), remembered, { task: "tensor" });
    expect(await check(3, 3, 3, 3)).toEqual([{ check: "rows", samples: 1, bitEqual: 1, disagreements: 0 }]);
    expect(await check(3, 3, 3.0001, 3)).toMatchObject([{ bitEqual: 0, disagreements: 0 }]);
    expect(await check(3, 3, 9, 3)).toMatchObject([{ bitEqual: 0, disagreements: 1 }]);
  });

  it("say nothing of an engine that takes no batches", async () => {
    expect(await checkRows(answering(3, 3, 3, 3), spec(1), remembered, { task: "tensor" })).toEqual([]);
  });
});

describe("speedTest", () => {
  it("finds a shift between medians of blocks, and is silent with few requests", () => {
    const random = createRandom(5);
    const series = (seconds: number, n: number) =>
      Array.from({ length: n }, () => seconds * (1 + 0.1 * random.next()));
    const slower = speedTest(series(2e-3, 400), series(1e-3, 400));
    expect(slower).toMatchObject({ blocks: 20, referenceBlocks: 20, slowerShareRatio: 1 });
    expect(slower?.pValue).toBeLessThan(1e-6);
    expect(slower?.shiftSeconds).toBeCloseTo(1.05e-3, 4);
    expect(speedTest(series(1e-3, 99), series(1e-3, 400))).toBeNull();
  });
});

describe("engines that are slow at once", () => {
  const random = createRandom(7);
  const quiet = (median: number) => Array.from({ length: 1000 }, () => median * (0.9 + 0.2 * random.next()));
  const burst = (seconds: readonly number[], from: number, to: number) =>
    seconds.map((time, round) => (round >= from && round < to ? 8 * time : time));

  it("are told by device, with the longest stretch and what chance would have made", () => {
    const found = slowTogether([
      { id: "cpu-1", device: "CPU", seconds: quiet(4e-4) },
      { id: "gpu-1", device: "GPU", seconds: burst(burst(quiet(2e-4), 600, 620), 900, 903) },
      { id: "gpu-2", device: "GPU", seconds: burst(burst(quiet(3e-4), 600, 615), 900, 903) },
    ]);
    expect(found).toEqual([
      { device: "GPU", engines: ["gpu-1", "gpu-2"], rounds: 18, expectedRounds: 0.414, longestStretch: 15 },
    ]);
  });

  it("are no finding when each is slow by itself, alone on its device, or failed out of step", () => {
    const often = (seconds: readonly number[], every: number) =>
      seconds.map((time, round) => (round % every === 0 ? 5 * time : time));
    const two = (a: readonly number[], b: readonly (number | null)[]) =>
      slowTogether([
        { id: "a", device: "GPU", seconds: a },
        { id: "b", device: "GPU", seconds: b },
      ]);
    // Every 3rd and every 4th round: 83 together, 84 by chance.
    expect(two(often(quiet(1), 3), often(quiet(1), 4))).toEqual([]);
    expect(two(burst(quiet(1), 10, 14), burst(quiet(1), 10, 14))).toEqual([]);
    expect(two(burst(quiet(1), 10, 30), burst(quiet(1), 10, 30).slice(1))).toEqual([]);
    expect(slowTogether([{ id: "a", device: "GPU", seconds: burst(quiet(1), 10, 30) }])).toEqual([]);
    // One that failed was not quick.
    const failing = burst(quiet(1), 10, 30).map((time, round) => (round >= 10 && round < 30 ? null : time));
    expect(two(burst(quiet(1), 10, 30), failing)).toMatchObject([{ rounds: 20, longestStretch: 20 }]);
  });
});
