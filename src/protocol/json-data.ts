import { GatewayError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { typedView } from "../core/tensor.ts";
import { maxFloat32Chars, writeFloat32 } from "./float-digits.ts";

/**
 * A tensor's elements as the inside of a JSON array, row-major: `0.5,1.0`. Floats read back as the same bits.
 * @throws GatewayError `engineFailed` for NaN and Infinity, which JSON does not have.
 */
export function encodeJsonData(tensor: Tensor): Uint8Array {
  const { name, datatype, data } = tensor;
  const view = typedView(datatype, data);
  if (view instanceof Float32Array) return encodeFloats(name, view);
  if (view instanceof Float64Array) {
    view.forEach((value, index) => checkFinite(name, value, index));
    return Buffer.from(Array.from(view, doubleText).join(","));
  }
  if (datatype === "BOOL") return Buffer.from(Array.from(data, (byte) => byte !== 0).join(","));
  return Buffer.from(view.join(","));
}

function encodeFloats(name: string, values: Float32Array): Uint8Array {
  const out = Buffer.allocUnsafe(values.length * (maxFloat32Chars + 1) + 1);
  let at = 0;
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index] ?? 0;
    checkFinite(name, value, index);
    if (index > 0) out[at++] = 0x2c;
    at = writeFloat32(out, at, value);
  }
  return out.subarray(0, at);
}

/** With a point or an exponent, so that typed clients see a float; -0 keeps its sign. */
function doubleText(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const text = String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

function checkFinite(name: string, value: number, index: number): void {
  if (Number.isFinite(value)) return;
  throw new GatewayError(
    "engineFailed",
    `output "${name}" holds ${value} at element ${index}, which JSON does not have; ask for it with "binary_data": true`,
  );
}
