import { array, assert, constantFrom, float, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { compareOutputs } from "../../src/compare/compare.ts";
import { halfToNumber } from "../../src/compare/half.ts";
import type { CompareOptions } from "../../src/compare/options.ts";
import {
  byteSize,
  elementBytes,
  type Datatype,
  type Tensor,
  type TypedArray,
} from "../../src/core/tensor.ts";

const plain: CompareOptions = { task: "tensor", tolerance: { abs: 1e-3, rel: 1e-3 } };

function tensor(
  values: TypedArray,
  name = "y",
  datatype: Datatype = "FP32",
  shape = [values.length],
): Tensor {
  return {
    name,
    datatype,
    shape,
    data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  };
}
const f32 = (values: readonly number[], name = "y", shape?: number[]) =>
  tensor(Float32Array.from(values), name, "FP32", shape);

describe("result", () => {
  test("equal bytes are bit_equal, NaN with the same bits included", () => {
    const a = f32([1, Number.NaN, -0]);
    const difference = compareOutputs([a], [f32([1, Number.NaN, -0])], plain);
    expect(difference.result).toBe("bit_equal");
    expect(difference.outputs[0]).toMatchObject({ bitEqual: true, candidate: { nan: 1, infinite: 0 } });
  });

  test("-0 and +0 are within, not bit_equal", () => {
    const difference = compareOutputs([f32([-0])], [f32([0])], plain);
    expect(difference.result).toBe("within");
    expect(difference.outputs[0]?.ulp.max).toBe(0);
  });

  test.each([
    ["NaN for a number", [1, 2], [1, Number.NaN]],
    ["a number for NaN", [1, Number.NaN], [1, 2]],
    ["infinity for a number", [1, 2], [1, Infinity]],
    ["the other infinity", [1, Infinity], [1, -Infinity]],
  ])("%s is invalid and says where", (_, a, b) => {
    const difference = compareOutputs([f32(a)], [f32(b)], plain);
    expect(difference.result).toBe("invalid");
    expect(difference.reason).toContain('output "y"');
    expect(difference.outputs[0]?.notComparable).toBe(1);
  });

  test("NaN and infinities at the same places are not held against the candidate", () => {
    const difference = compareOutputs(
      [f32([1, Number.NaN, Infinity])],
      [f32([1.0001, Number.NaN, Infinity])],
      plain,
    );
    expect(difference.result).toBe("within");
    expect(difference.outputs[0]).toMatchObject({ reference: { nan: 1, infinite: 1 }, notComparable: 0 });
  });

  test.each([
    ["shape", f32([1, 2], "y", [2]), f32([1, 2], "y", [1, 2]), "[1,2] where the reference has [2]"],
    ["datatype", f32([1]), tensor(Int32Array.of(1), "y", "INT32"), "INT32 where the reference has FP32"],
    ["name", f32([1]), f32([1], "z"), '"y" is missing'],
  ])("another %s is invalid", (_, a, b, words) => {
    const difference = compareOutputs([a], [b], plain);
    expect(difference).toMatchObject({ result: "invalid", flip: false });
    expect(difference.reason).toContain(words);
    // Where there is a decision to change, it has.
    expect(compareOutputs([a], [b], { task: "regression" }).flip).toBe(false);
    for (const task of ["classification", "detection", "segmentation"] as const)
      expect(compareOutputs([a], [b], { task }), task).toMatchObject({ result: "invalid", flip: true });
  });

  test("right values in the wrong outputs diverge; another order of the outputs does not matter", () => {
    const a = f32([1, 2], "a");
    const b = f32([3, 4], "b");
    expect(compareOutputs([a, b], [f32([3, 4], "a"), f32([1, 2], "b")], plain).result).toBe("diverged");
    expect(compareOutputs([a, b], [b, a], plain).result).toBe("bit_equal");
  });

  test("a record survives a structured clone", () => {
    const difference = compareOutputs([f32([1, 2, 3])], [f32([1, 2.5, 3])], { task: "classification" });
    expect(structuredClone(difference)).toEqual(difference);
  });
});

describe("tolerance", () => {
  const small = f32([1e-6]);
  const off = f32([5e-6]);

  test("Polygraphy: an element fails only when both limits are exceeded", () => {
    const limits = { abs: 1e-3, rel: 1e-3 };
    expect(compareOutputs([small], [off], { task: "tensor", tolerance: limits }).result).toBe("within");
    expect(
      compareOutputs([small], [off], { task: "tensor", tolerance: { abs: 1e-6, rel: 1e-3 } }).result,
    ).toBe("diverged");
    // 0.5 off 1000: beyond abs, within rel.
    expect(compareOutputs([f32([1000])], [f32([1000.5])], { task: "tensor", tolerance: limits }).result).toBe(
      "within",
    );
  });

  test("numpy: atol + rtol |reference|", () => {
    const compare = (b: number) =>
      compareOutputs([f32([100])], [f32([b])], {
        task: "tensor",
        tolerance: { abs: 0.1, rel: 1e-3, rule: "numpy" },
      }).result;
    expect(compare(100.19)).toBe("within");
    expect(compare(100.21)).toBe("diverged");
  });

  test("an output's own words come before the model's, and the model's before its datatype's", () => {
    const pair = (tolerance?: CompareOptions["tolerance"]) =>
      compareOutputs([f32([1])], [f32([1.05])], { task: "tensor", tolerance }).result;
    expect(pair()).toBe("diverged");
    expect(pair({ abs: 0.1 })).toBe("within");
    expect(pair({ abs: 1e-5, rel: 1e-5, outputs: { y: { abs: 0.1 } } })).toBe("within");
    const halves = (a: number, b: number) =>
      compareOutputs([tensor(Uint16Array.of(a), "y", "FP16")], [tensor(Uint16Array.of(b), "y", "FP16")], {
        task: "tensor",
      }).result;
    // 1 and 1.0049: beyond what FP32 is allowed, within what FP16 is.
    expect(halves(0x3c00, 0x3c05)).toBe("within");
    expect(
      compareOutputs([tensor(Int32Array.of(7), "y", "INT32")], [tensor(Int32Array.of(8), "y", "INT32")], {
        task: "tensor",
      }).result,
    ).toBe("diverged");
  });

  test("a model's abs and rel leave whole numbers alone; an output's own words do not", () => {
    const result = (tolerance: CompareOptions["tolerance"], a: TypedArray, b: TypedArray, type: Datatype) =>
      compareOutputs([tensor(a, "y", type)], [tensor(b, "y", type)], { task: "tensor", tolerance }).result;
    const wide = { abs: 1, rel: 1e-3 };
    const own = { outputs: { y: { abs: 1 } } };
    for (const [type, a, b] of [
      ["INT64", BigInt64Array.of(5000n), BigInt64Array.of(5001n)],
      ["INT32", Int32Array.of(5000), Int32Array.of(5001)],
      ["UINT8", Uint8Array.of(200), Uint8Array.of(201)],
      ["BOOL", Uint8Array.of(0), Uint8Array.of(1)],
    ] as const) {
      expect(result(wide, a, b, type), type).toBe("diverged");
      expect(result(own, a, b, type), type).toBe("within");
    }
  });

  test("64-bit whole numbers that one double stands for are different still", () => {
    const compare = (a: TypedArray, b: TypedArray, type: Datatype) =>
      compareOutputs([tensor(a, "y", type)], [tensor(b, "y", type)], { task: "tensor" });
    for (const [type, a, b, off] of [
      ["INT64", BigInt64Array.of(2n ** 53n), BigInt64Array.of(2n ** 53n + 1n), 1],
      ["INT64", BigInt64Array.of(-(2n ** 63n)), BigInt64Array.of(3n - 2n ** 63n), 3],
      ["INT64", BigInt64Array.of(-1n), BigInt64Array.of(2n ** 32n), 2 ** 32 + 1],
      ["UINT64", BigUint64Array.of(2n ** 64n - 1n), BigUint64Array.of(2n ** 64n - 3n), 2],
    ] as const)
      expect(compare(a, b, type), type).toMatchObject({
        result: "diverged",
        outputs: [{ outside: 1, abs: { max: off }, ulp: { max: off } }],
      });
  });

  test("cosine", () => {
    const tolerance = { abs: 10, rel: 10, cosine: 0.999 };
    expect(compareOutputs([f32([1, 0])], [f32([1, 0.1])], { task: "tensor", tolerance }).reason).toContain(
      "cosine",
    );
  });
});

describe("figures", () => {
  test("equal a plain computation, quantiles within their bucket, over more than one chunk", () => {
    const n = 10_000;
    const a = Float32Array.from({ length: n }, (_, i) => Math.sin(i) * 10);
    const b = a.map((x, i) => (i % 3 === 0 ? x : x * (1 + 1e-4 * Math.cos(i))));
    const abs = Float64Array.from(a, (x, i) => Math.abs((b[i] as number) - x));
    const rel = Float64Array.from(a, (x, i) => (abs[i] as number) / Math.abs(x || 2.220446049250313e-16));
    const { outputs } = compareOutputs([tensor(a)], [tensor(b)], plain);
    const output = outputs[0];
    for (const [figure, values] of [
      [output?.abs, abs.sort()],
      [output?.rel, rel.sort()],
    ] as const) {
      expect(figure?.max).toBe(values.at(-1));
      for (const [p, found] of [
        [0.5, figure?.p50],
        [0.99, figure?.p99],
      ] as const) {
        const exact = values[Math.ceil(p * n) - 1] as number;
        expect(found).toBeGreaterThanOrEqual(exact);
        expect(found).toBeLessThanOrEqual(exact * 1.033);
      }
    }
    const dot = a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);
    const norm = (v: Float32Array) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    expect(output?.cosine).toBeCloseTo(dot / norm(a) / norm(b), 12);
    expect(output?.l2).toBeCloseTo(Math.sqrt(abs.reduce((sum, x) => sum + x * x, 0)), 10);
  });

  test("ULP: neighbours are 1 apart in every float type, across zero and the sign too", () => {
    const ulp = (datatype: Datatype, a: TypedArray, b: TypedArray) =>
      compareOutputs([tensor(a, "y", datatype)], [tensor(b, "y", datatype)], plain).outputs[0]?.ulp.max;
    const bits = (pattern: number) => new Float32Array(Uint32Array.of(pattern).buffer);
    expect(ulp("FP32", bits(0x3f800000), bits(0x3f800001))).toBe(1);
    expect(ulp("FP32", bits(0x80000001), bits(0x00000001))).toBe(2);
    expect(ulp("FP32", bits(0xff7fffff), bits(0x7f7fffff))).toBe(2 * 0x7f7fffff);
    expect(ulp("FP16", Uint16Array.of(0x3c00), Uint16Array.of(0x3bff))).toBe(1);
    expect(ulp("FP16", Uint16Array.of(0x8001), Uint16Array.of(0x0001))).toBe(2);
    expect(ulp("BF16", Uint16Array.of(0xbf80), Uint16Array.of(0xbf82))).toBe(2);
    const double = (pattern: bigint) => new Float64Array(BigUint64Array.of(pattern).buffer);
    expect(ulp("FP64", double(0x3ff0000000000000n), double(0x3ff0000000000001n))).toBe(1);
    expect(ulp("FP64", double(0x8000000000000001n), double(0x0000000000000002n))).toBe(3);
    expect(ulp("FP64", double(0x3fefffffffffffffn), double(0x3ff0000000000001n))).toBe(2);
  });

  test("comparing is symmetric in ULP and absolute error, and exact for any pair of floats", () => {
    const any = float({ noNaN: true, noDefaultInfinity: true });
    assert(
      property(array(any, { minLength: 1 }), array(any, { minLength: 1 }), (x, y) => {
        const n = Math.min(x.length, y.length);
        const [a, b] = [f32(x.slice(0, n)), f32(y.slice(0, n))];
        const one = compareOutputs([a], [b], plain).outputs[0];
        const two = compareOutputs([b], [a], plain).outputs[0];
        expect([one?.abs, one?.ulp, one?.l2]).toEqual([two?.abs, two?.ulp, two?.l2]);
        expect(one?.abs.max).toBe(Math.max(...x.slice(0, n).map((v, i) => Math.abs((y[i] as number) - v))));
      }),
    );
  });

  test("halves decode to their values", () => {
    expect([0x3c00, 0xc000, 0x0001, 0x7bff, 0xfc00].map(halfToNumber)).toEqual([
      1,
      -2,
      2 ** -24,
      65504,
      -Infinity,
    ]);
    expect(halfToNumber(0x7e00)).toBeNaN();
  });

  test("every datatype compares, from bytes at an odd offset too", () => {
    const types: Datatype[] = [
      "BOOL",
      "UINT8",
      "UINT16",
      "UINT32",
      "UINT64",
      "INT8",
      "INT16",
      "INT32",
      "INT64",
    ];
    assert(
      property(constantFrom(...types), (datatype) => {
        const size = byteSize(datatype, [5]);
        const bytes = new Uint8Array(size + 1).subarray(1);
        for (let at = 0; at < size; at += elementBytes(datatype)) bytes[at] = 1;
        const other = bytes.slice();
        other[2 * elementBytes(datatype)] = 0;
        const make = (data: Uint8Array): Tensor => ({ name: "y", datatype, shape: [5], data });
        expect(compareOutputs([make(bytes)], [make(bytes.slice())], plain).result).toBe("bit_equal");
        const { outputs } = compareOutputs([make(bytes)], [make(other)], {
          task: "tensor",
          tolerance: { abs: 0, rel: 0 },
        });
        expect(outputs[0]).toMatchObject({ abs: { max: 1 }, ulp: { max: 1 }, outside: 1 });
      }),
    );
  });
});
