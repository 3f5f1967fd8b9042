import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maxFloat32Chars, writeFloat32 } from "../../src/protocol/float-digits.ts";

function written(value: number): string {
  const out = Buffer.alloc(64);
  return out.toString("latin1", 0, writeFloat32(out, 0, Math.fround(value)));
}

/** Significant digits of a JSON number. */
function digits(text: string): number {
  return text.replace(/e.*$/, "").replaceAll(/[-.]/g, "").replace(/^0+/, "").replace(/0+$/, "").length;
}

describe("FP32 as JSON", () => {
  it.each([
    [0, "0.0"],
    [-0, "-0.0"],
    [1, "1.0"],
    [-1.5, "-1.5"],
    [0.1, "0.1"],
    [1 / 3, "0.33333334"],
    [100, "100.0"],
    [12345.678, "12345.678"],
    [0.000123, "0.000123"],
    [1e-7, "1e-7"],
    [1.25e-10, "1.25e-10"],
    [16777216, "16777216.0"],
    [3.4028234663852886e38, "3.4028235e+38"],
    [2 ** -149, "1e-45"],
  ])("%d is %s", (value, text) => {
    expect(written(value)).toBe(text);
  });

  it("reads back as the same bits, in at most 9 digits, as JSON, for any bits", () => {
    const bits = new Uint32Array(1);
    const float = new Float32Array(bits.buffer);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (pattern) => {
        bits[0] = pattern;
        const value = float[0] ?? 0;
        fc.pre(Number.isFinite(value));
        const text = written(value);
        expect(Object.is(Math.fround(Number(text)), value)).toBe(true);
        expect(Object.is(Math.fround(JSON.parse(text) as number), value)).toBe(true);
        expect(digits(text)).toBeLessThanOrEqual(9);
        expect(text.length).toBeLessThanOrEqual(maxFloat32Chars);
      }),
      { numRuns: 50_000 },
    );
  });

  it("is as short as a decimal that was put in", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 999_999 }),
        fc.integer({ min: -12, max: 8 }),
        (whole, exponent) => {
          expect(digits(written(Number(`${whole}e${exponent}`)))).toBeLessThanOrEqual(digits(String(whole)));
        },
      ),
      { numRuns: 20_000 },
    );
  });
});
