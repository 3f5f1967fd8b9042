import { array, assert, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { BestScores } from "../../src/compare/best-scores.ts";
import { decidedClass } from "../../src/compare/classification.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import { summaryOf } from "../../src/compare/difference.ts";
import { createNoiseFloor } from "../../src/compare/noise-floor.ts";
import type { CompareOptions, DetectionOptions } from "../../src/compare/options.ts";
import type { Tensor } from "../../src/core/tensor.ts";

function f32(name: string, shape: number[], values: readonly number[]): Tensor {
  return { name, datatype: "FP32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

describe("classification", () => {
  const compare = (a: number[], b: number[], shape = [1, a.length]) =>
    compareOutputs([f32("scores", shape, a)], [f32("scores", shape, b)], {
      task: "classification",
      topK: 2,
    });

  test("the class that is decided for differs exactly where there is a flip", () => {
    const decided = (values: number[], shape: number[]) => decidedClass(f32("scores", shape, values));
    expect(decided([1, 3, 2], [1, 3])).toBe(1);
    expect(decided([3, 3, Number.NaN], [3])).toBe(0);
    expect(decided([Number.NaN, Number.NaN], [1, 2])).toBeNull();
    // One class: 0.5 for what may be a probability, else 0.
    expect([0.4, 0.6, -1, 3].map((value) => decided([value], [1, 1]))).toEqual([0, 1, 0, 1]);
    expect(decided([Number.NaN], [1, 1])).toBeNull();
    const label = (...values: number[]) => ({
      name: "label",
      datatype: "INT64" as const,
      shape: [values.length],
      data: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
    });
    expect(decidedClass(label(7))).toBe(7);
    // Several rows are several decisions.
    expect(decidedClass(label(7, 1))).toBeNull();
    expect(decided([1, 3, 2, 0], [2, 2])).toBeNull();
    // Of 8 and 16 bits more than one is no label: scores of a quantised model.
    const quantised = (values: number[], shape = [1, values.length]): Tensor => ({
      name: "scores",
      datatype: "UINT8",
      shape,
      data: Uint8Array.from(values),
    });
    expect(decidedClass(quantised([3, 250, 9]))).toBe(1);
    expect(decidedClass(quantised([3, 250, 9], [3]))).toBe(1);
    expect(decidedClass(quantised([7]))).toBe(7);
    expect(decidedClass(quantised([7, 1], [2, 1]))).toBeNull();
    assert(
      property(array(integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 8 }), (all) => {
        const [a, b] = [all.slice(0, 4), all.slice(4)];
        expect(decided(a, [1, 4]) !== decided(b, [1, 4])).toBe(compare(a, b).flip);
        expect(decidedClass(quantised(a)) !== decidedClass(quantised(b))).toBe(
          compareOutputs([quantised(a)], [quantised(b)], { task: "classification" }).flip,
        );
        expect(decidedClass(label(a[0] as number)) !== decidedClass(label(b[0] as number))).toBe(
          compareOutputs([label(a[0] as number)], [label(b[0] as number)], { task: "classification" }).flip,
        );
      }),
    );
  });

  test("another best class is a flip, in any row of the batch", () => {
    expect(compare([1, 3, 2], [1, 2, 3])).toMatchObject({ flip: true, classification: { top1Flips: 1 } });
    expect(compare([1, 3, 3, 1], [1.1, 3, 1, 3], [2, 2])).toMatchObject({
      flip: true,
      classification: { rows: 2, top1Flips: 1 },
    });
    expect(compare([1, 3, 2], [0, 9, 2])).toMatchObject({ flip: false });
  });

  test("top-k flips compare sets; order inside does not matter", () => {
    expect(compare([5, 4, 3], [4, 5, 3]).classification).toMatchObject({ top1Flips: 1, topKFlips: 0 });
    expect(compare([5, 4, 3], [5, 3, 4]).classification).toMatchObject({ top1Flips: 0, topKFlips: 1 });
  });

  test("margin and exposure: a flip needs twice the largest difference to reach the margin", () => {
    expect(compare([5, 4, 0], [5, 4.4, 0]).classification).toMatchObject({ margin: 1, exposed: 0 });
    expect(compare([5, 4, 0], [5, 4.6, 0]).classification).toMatchObject({ margin: 1, exposed: 1 });
  });

  test("KL and JS: probabilities as they are, logits through softmax", () => {
    const p = [0.5, 0.25, 0.25];
    const q = [0.25, 0.5, 0.25];
    const kl = 0.5 * Math.log(2) - 0.25 * Math.log(2);
    const js = 0.5 * (0.5 * Math.log(0.5 / 0.375) + 0.25 * Math.log(0.25 / 0.375)) * 2;
    expect(compare(p, q).classification?.kl).toBeCloseTo(kl, 10);
    expect(compare(p, q).classification?.js).toBeCloseTo(js, 10);
    const logits = (values: number[]) => values.map((x) => Math.log(x) + 3);
    expect(compare(logits(p), logits(q)).classification?.kl).toBeCloseTo(kl, 6);
    expect(compare([1, 0], [0, 1]).classification?.js).toBeCloseTo(Math.log(2), 10);
    // Probabilities that add up to 1 but for rounding differ by their shares, not by their sums.
    expect(compare([0.3, 0.7], [0.3003, 0.7007]).classification?.kl).toBeLessThan(1e-13);
  });

  test("a single class flips at 0.5 where all are probabilities, else at 0", () => {
    expect(compare([0.4, 0.9], [0.6, 0.9], [2, 1])).toMatchObject({
      flip: true,
      classification: { rows: 2, top1Flips: 1, exposed: 1 },
    });
    expect(compare([0.4], [0.6]).flip).toBe(true);
    expect(compare([0.6], [0.9]).flip).toBe(false);
    expect(compare([-1, 0.4], [-1, 0.6], [2, 1]).flip).toBe(false);
    expect(compare([-1, 3], [1, 3], [2, 1]).classification).toMatchObject({ top1Flips: 1, margin: 2 });
    // One float32 apart, on both sides of the cut.
    expect(compare([0.5], [0.5 + 2 ** -24]).flip).toBe(true);
    expect(compare([0.1], [Number.NaN]).flip).toBe(true);
    // By the reference's values alone.
    expect(compare([0.0005], [-0.0005]).flip).toBe(false);
    expect(compare([0.3], [1.01]).flip).toBe(true);
    expect(compare([-0.1], [0.4]).flip).toBe(true);
  });

  test("a row without classes has other best ones; two infinite scores are equal", () => {
    const nan = Number.NaN;
    expect(compare([5, 4, 3], [nan, nan, nan]).classification).toMatchObject({ top1Flips: 1, topKFlips: 1 });
    expect(compare([5, 4, 3], [5, nan, nan]).classification).toMatchObject({ top1Flips: 0, topKFlips: 1 });
    expect(compare([Infinity, Infinity, 0], [Infinity, Infinity, 0]).classification?.margin).toBe(0);
  });

  test.each([
    ["INT64", BigInt64Array.of(3n, 2n ** 53n), BigInt64Array.of(3n, 2n ** 53n + 1n)],
    ["INT32", Int32Array.of(1, 7), Int32Array.of(1, 8)],
    ["BOOL", Uint8Array.of(0, 1), Uint8Array.of(0, 0)],
  ] as const)("a first output of %s holds labels, each for itself", (datatype, values, others) => {
    const labels = (data: { buffer: ArrayBuffer }): Tensor[] => [
      { name: "label", datatype, shape: [2], data: new Uint8Array(data.buffer) },
    ];
    expect(compareOutputs(labels(values), labels(others), { task: "classification" })).toMatchObject({
      flip: true,
      classification: { rows: 2, top1Flips: 1, margin: Infinity },
    });
    const same = compareOutputs(labels(values), labels(values), { task: "classification" });
    expect(same).toMatchObject({ flip: false, classification: { top1Flips: 0 } });
  });

  test.each([
    ["UINT8", Uint8Array.of(9, 240, 7, 200, 5, 50), Uint8Array.of(9, 239, 7, 50, 5, 51)],
    ["INT8", Int8Array.of(-9, 120, 7, 100, 5, -50), Int8Array.of(-9, 119, 7, 4, 5, -49)],
    ["UINT16", Uint16Array.of(9, 60_000, 7, 200, 5, 50), Uint16Array.of(9, 59_999, 7, 50, 5, 51)],
  ] as const)("scores of a quantised model in %s", (datatype, values, others) => {
    const scores = (data: { buffer: ArrayBuffer }): Tensor[] => [
      { name: "scores", datatype, shape: [2, 3], data: new Uint8Array(data.buffer) },
    ];
    // The first row keeps its class; their scale is not known, so neither are their probabilities.
    expect(compareOutputs(scores(values), scores(others), { task: "classification" })).toMatchObject({
      flip: true,
      classification: { rows: 2, top1Flips: 1, exposed: 1, kl: Number.NaN, js: Number.NaN },
    });
  });

  test.each([
    ["FP16", Uint16Array.of(0x3c00, 0x4200, 0x4000), Uint16Array.of(0x3c00, 0x4200, 0x4400)],
    ["BF16", Uint16Array.of(0x3f80, 0x4040, 0x4000), Uint16Array.of(0x3f80, 0x4040, 0x4080)],
  ] as const)("scores in %s", (datatype, values, others) => {
    const scores = (words: Uint16Array): Tensor[] => [
      { name: "scores", datatype, shape: [1, 3], data: new Uint8Array(words.buffer) },
    ];
    // 1, 3, 2 and 1, 3, 4.
    expect(compareOutputs(scores(values), scores(others), { task: "classification" })).toMatchObject({
      flip: true,
      classification: { top1Flips: 1, margin: 1 },
    });
  });

  test("a candidate of NaN flips every row", () => {
    expect(compare([1, 2], [Number.NaN, Number.NaN])).toMatchObject({
      result: "invalid",
      flip: true,
      classification: { top1Flips: 1, exposed: 1, margin: 1, kl: Number.NaN },
    });
  });

  test("a row of NaN leaves the figures of the others as they are", () => {
    const none = [Number.NaN, Number.NaN, Number.NaN];
    const alone = compare([5, 4, 0], [5, 4.4, 0]).classification;
    for (const [a, b] of [
      [
        [...none, 5, 4, 0],
        [...none, 5, 4.4, 0],
      ],
      [
        [5, 4, 0, ...none],
        [5, 4.4, 0, ...none],
      ],
    ] as const)
      expect(compare([...a], [...b], [2, 3]).classification).toEqual({ ...alone, rows: 2 });
    const nothing = compare(none, none).classification;
    expect(nothing).toMatchObject({ top1Flips: 0, exposed: 0, margin: Infinity, kl: Number.NaN });
  });
});

describe("detection", () => {
  const options: DetectionOptions = {
    scores: "scores",
    boxes: "boxes",
    format: "corners",
    background: 0,
    scoreThreshold: 0.7,
    nmsIou: 0.3,
    matchIou: 0.5,
  };
  type Anchor = readonly [scores: readonly number[], box: readonly number[]];
  const outputs = (anchors: readonly Anchor[]) => [
    f32(
      "scores",
      [1, anchors.length, 3],
      anchors.flatMap(([s]) => s),
    ),
    f32(
      "boxes",
      [1, anchors.length, 4],
      anchors.flatMap(([, b]) => b),
    ),
  ];
  const compare = (a: readonly Anchor[], b: readonly Anchor[], change: Partial<DetectionOptions> = {}) =>
    compareOutputs(outputs(a), outputs(b), {
      task: "detection",
      detection: { ...options, ...change },
    });
  const one: Anchor = [
    [0.05, 0.9, 0.05],
    [0.1, 0.1, 0.3, 0.3],
  ];
  const shifted: Anchor = [
    [0.1, 0.8, 0.1],
    [0.11, 0.1, 0.31, 0.3],
  ];
  const nothing: Anchor = [
    [0.99, 0.01, 0],
    [0.5, 0.5, 0.6, 0.6],
  ];

  test("the same object, a little off, is matched", () => {
    const { flip, detection } = compare([one, nothing], [shifted, nothing]);
    expect(flip).toBe(false);
    expect(detection).toMatchObject({ reference: 1, candidate: 1, matched: 1, changed: 0 });
    expect(detection?.maxScoreDifference).toBeCloseTo(0.1, 6);
    expect(detection?.minIou).toBeCloseTo(0.19 / 0.21, 5);
  });

  test("a lost and a new detection change the decision; background never counts", () => {
    expect(compare([one, nothing], [nothing, nothing])).toMatchObject({
      flip: true,
      detection: { changed: 1, candidate: 0 },
    });
    expect(
      compare(
        [nothing],
        [
          [
            [0, 0, 0.9],
            [0.5, 0.5, 0.6, 0.6],
          ],
        ],
      ).detection,
    ).toMatchObject({ changed: 1 });
  });

  test("the same place with another class is a class flip", () => {
    expect(compare([one], [[[0.05, 0.05, 0.9], one[1]]]).detection).toMatchObject({
      matched: 0,
      changed: 2,
      classFlips: 1,
    });
  });

  test("overlapping boxes of one class are suppressed before matching, others are not", () => {
    expect(compare([one, shifted], [one]).result).toBe("invalid");
    expect(compare([one, shifted], [one, nothing]).detection).toMatchObject({ reference: 1, changed: 0 });
    expect(compare([one, [[0.1, 0.1, 0.8], shifted[1]]], [one, nothing]).detection).toMatchObject({
      reference: 2,
      changed: 1,
    });
  });

  test("boxes as centre and size", () => {
    const centred = (width: number): Anchor => [
      [0, 0.9, 0.1],
      [0.5, 0.5, width, 0.2],
    ];
    expect(compare([centred(0.2)], [centred(0.25)], { format: "center" }).detection?.minIou).toBeCloseTo(0.8);
  });

  test.each([
    ["without area", [0.2, 0.2, 0.2, 0.6], "corners"],
    ["of NaN", [0.2, Number.NaN, 0.4, 0.4], "corners"],
    ["without end", [0.2, 0.2, Infinity, 0.4], "corners"],
    ["of negative size", [0.5, 0.5, -0.2, -0.1], "center"],
    ["without size", [0.5, 0.5, 0, 0], "center"],
  ] as const)("a box %s matches itself", (_, box, format) => {
    const at = (score: number): Anchor => [[0.05, score, 0.05], box];
    expect(compare([at(0.9)], [at(0.9)], { format })).toMatchObject({
      result: "bit_equal",
      flip: false,
      detection: { matched: 1, changed: 0 },
    });
    expect(compare([at(0.9)], [at(0.91)], { format })).toMatchObject({
      flip: false,
      detection: { matched: 1, changed: 0, minIou: 1 },
    });
  });

  test.each([
    [
      "another name",
      { scores: "confidence" },
      'no output "confidence", the outputs are "scores" [1,2,3], "boxes"',
    ],
    ["another name of the boxes", { boxes: "rectangles" }, "set detection.boxes in model.yaml"],
    ["another layout", { boxes: "scores" }, "boxes [N, A, 4]"],
  ])("%s: the decision cannot be read, and why is told", (_, change, words) => {
    for (const other of [one, nothing]) {
      const difference = compare([one, nothing], [one, other], change);
      expect(difference.flip).toBeUndefined();
      expect(difference.detection).toBeUndefined();
      expect(difference.undecided).toContain(words);
    }
  });

  test("scores with the classes before the anchors are not read as something else", () => {
    const transposed = (off: number) => [
      f32("scores", [1, 3, 2], [0.05, 0.99, 0.9 + off, 0.01, 0.05, 0]),
      f32("boxes", [1, 2, 4], [...one[1], ...nothing[1]]),
    ];
    const { flip, undecided } = compareOutputs(transposed(0), transposed(0.01), {
      task: "detection",
      detection: options,
    });
    expect(flip).toBeUndefined();
    expect(undecided).toContain('"scores" [1,3,2]');
  });

  test("without a word about detections nothing is decided", () => {
    const difference = compareOutputs(outputs([one]), outputs([nothing]), { task: "detection" });
    expect(difference).toMatchObject({ result: "diverged", flip: undefined });
    expect(difference.undecided).toContain("detection.scores");
  });

  test("an only class is no background", () => {
    const only = (score: number) => [f32("scores", [1, 1, 1], [score]), f32("boxes", [1, 1, 4], one[1])];
    const lost = compareOutputs(only(0.9), only(0.1), { task: "detection", detection: options });
    expect(lost).toMatchObject({ flip: true, detection: { reference: 1, candidate: 0 } });
  });

  test("no boxes at all are no detections", () => {
    const none = [f32("scores", [0], []), f32("boxes", [0, 4], [])];
    expect(compareOutputs(none, none, { task: "detection", detection: options })).toMatchObject({
      flip: false,
      detection: { reference: 0, candidate: 0 },
    });
  });

  test("an engine that passes every anchor stays within bounds", () => {
    const many = Array.from({ length: 3000 }, (_, i): Anchor => [
      [0, 0.9, 0.9],
      [(i % 60) / 60, i / 3000, (i % 60) / 60 + 0.01, i / 3000 + 0.001],
    ]);
    expect(compare([one, ...many.slice(1)], many).detection?.candidate).toBeLessThanOrEqual(400);
  });
});

test("the best scores are what sorting gives, equal ones in their order", () => {
  assert(
    property(array(integer({ min: 0, max: 9 })), integer({ min: 1, max: 8 }), (scores, most) => {
      const best = new BestScores(most);
      for (const [place, score] of scores.entries()) best.add(score, place);
      const sorted = scores.map((_, place) => place);
      sorted.sort((i, j) => (scores[j] as number) - (scores[i] as number));
      expect(best.places()).toEqual(sorted.slice(0, most));
    }),
  );
});

describe("segmentation", () => {
  const compare = (a: Tensor, b: Tensor, change: Partial<CompareOptions> = {}) =>
    compareOutputs([a], [b], { task: "segmentation", ...change });

  test("counts pixels whose best channel changed", () => {
    const scores = [1, 1, 0, 0, /* second channel */ 0, 0, 1, 1];
    const other = [1, 0, 0, 0, /* second channel */ 0, 1, 1, 1];
    const { segmentation, flip } = compare(f32("m", [1, 2, 2, 2], scores), f32("m", [1, 2, 2, 2], other));
    expect(segmentation).toEqual({ pixels: 4, flips: 1 });
    expect(flip).toBe(true);
    expect(
      compare(f32("m", [1, 2, 2, 2], scores), f32("m", [1, 2, 2, 2], other), { pixelFlipRatio: 0.25 }).flip,
    ).toBe(false);
  });

  test("an empty batch has no pixels", () => {
    for (const shape of [
      [0, 2, 4, 4],
      [1, 0, 4, 4],
      [1, 2, 0, 4],
    ])
      expect(compare(f32("m", shape, []), f32("m", shape, []))).toMatchObject({
        flip: false,
        segmentation: { pixels: 0, flips: 0 },
      });
  });

  test("one channel is cut at 0.5 for probabilities and at 0 for logits; labels are compared", () => {
    const mask = (values: number[]) => f32("m", [1, 1, 1, values.length], values);
    expect(compare(mask([0.4, 0.9]), mask([0.6, 0.9])).segmentation).toEqual({ pixels: 2, flips: 1 });
    expect(compare(mask([-3, 0.2]), mask([-3, 0.6])).segmentation).toEqual({ pixels: 2, flips: 0 });
    expect(compare(mask([0, 0.2]), mask([-1e-3, 0.199])).segmentation).toEqual({ pixels: 2, flips: 0 });
    const labels = (...values: number[]): Tensor => ({
      name: "m",
      datatype: "UINT8",
      shape: [1, values.length],
      data: Uint8Array.from(values),
    });
    expect(compare(labels(1, 2, 3), labels(1, 2, 4)).segmentation).toEqual({ pixels: 3, flips: 1 });
  });
});

describe("noise floor", () => {
  const control = (off: number) =>
    summaryOf(compareOutputs([f32("y", [2], [1, 2])], [f32("y", [2], [1 + off, 2])], { task: "tensor" }))
      .outputs;

  test("tolerance is widened to a multiple of what the engine differs from itself", () => {
    const floor = createNoiseFloor();
    for (let run = 0; run < 99; run += 1) floor.add(control(0.01));
    expect(floor.calibrate({ abs: 1e-3, rel: 0.5 }).outputs).toEqual({});
    floor.add(control(0.01));
    const { outputs } = floor.calibrate({ abs: 1e-3, rel: 0.5 });
    expect(outputs?.["y"]?.abs).toBeGreaterThan(0.0299);
    expect(outputs?.["y"]?.abs).toBeLessThan(0.031);
    expect(outputs?.["y"]?.rel).toBeUndefined();
    expect(floor.result()[0]).toMatchObject({ output: "y", runs: 100, bitEqualRatio: 0 });
  });

  test.each(["polygraphy", "numpy"] as const)("an element of 0 does not lift the limits: %s", (rule) => {
    const y = (values: number[]) => [f32("y", [2], values)];
    const floor = createNoiseFloor();
    for (let run = 0; run < 100; run += 1)
      floor.add(summaryOf(compareOutputs(y([0, 2]), y([1e-6, 2]), { task: "tensor" })).outputs);
    const tolerance = floor.calibrate({ abs: 1e-7, rel: 1e-7, rule });
    const result = (b: number[]) => compareOutputs(y([0, 2]), y(b), { task: "tensor", tolerance }).result;
    expect(result([2e-6, 2])).toBe("within");
    expect(result([0, 3])).toBe("diverged");
    expect(result([1, 2])).toBe("diverged");
  });

  test("an engine that repeats itself leaves the tolerance as it is, and a snapshot resumes", () => {
    const floor = createNoiseFloor();
    for (let run = 0; run < 200; run += 1) floor.add(control(0));
    expect(floor.calibrate({ abs: 1e-3, rel: 1e-3 }).outputs?.["y"]).toEqual({ abs: 1e-3 });
    const resumed = createNoiseFloor(JSON.parse(JSON.stringify(floor.snapshot())));
    expect(resumed.result()).toEqual(floor.result());
    expect(resumed.result()[0]?.bitEqualRatio).toBe(1);
  });
});
