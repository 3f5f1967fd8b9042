import type { Datatype, TypedArray } from "../core/tensor.ts";
import { byteSize, elementCount } from "../core/tensor.ts";
import type { WireInput } from "./v2-request.ts";
import { invalid, show } from "./v2-request.ts";

/**
 * A tensor's bytes from its `data` array, flat or nested as its shape says (row-major). One pass, one allocation.
 * @param exact the same data with whole numbers as bigints, asked for only when a 64-bit value is beyond 2^53
 * @throws GatewayError `invalid` naming element and value.
 */
export function decodeJsonTensor(input: WireInput, datatype: Datatype, exact: () => unknown): Uint8Array {
  const { shape, data } = input;
  const label = `input ${show(input.name)}`;
  if (datatype === "FP16" || datatype === "BF16") {
    throw invalid(`${label}: ${datatype} has no JSON form; send it in binary (parameters.binary_data_size)`);
  }
  if (!data) throw invalid(`${label} has no data`);
  const nested = shape.length > 1 && Array.isArray(data[0]);
  // Before anything is allocated: the array in hand has as many elements as the shape claims.
  if (nested) checkNested(data, shape, label);
  else checkFlat(data, shape, label);
  const bytes = new Uint8Array(byteSize(datatype, shape));
  const fill = writer(datatype, bytes.buffer, label);
  const all = (values: readonly unknown[]) => (nested ? walk(values, shape, 0, 0, fill) : fill(values, 0));
  if (all(data) === beyondDouble && all(exact() as readonly unknown[]) === beyondDouble) {
    throw invalid(
      `${label}: ${datatype} values beyond 2^53 must be plain digits, without fraction or exponent`,
    );
  }
  return bytes;
}

/** Writes `values` from element `offset` on; says when a value needs the exact parse. */
type Fill = (values: readonly unknown[], offset: number) => typeof beyondDouble | undefined;

const beyondDouble = Symbol("beyond 2^53");

function checkFlat(data: readonly unknown[], shape: readonly number[], label: string): void {
  const count = elementCount(shape);
  if (data.length === count) return;
  throw invalid(`${label}: data has ${data.length} elements; shape [${shape.join(",")}] wants ${count}`);
}

function checkNested(data: readonly unknown[], shape: readonly number[], label: string, axis = 0): void {
  if (data.length !== shape[axis]) {
    throw invalid(
      `${label}: data has ${data.length} elements at nesting level ${axis + 1}; shape [${shape.join(",")}] wants ${shape[axis]}`,
    );
  }
  if (axis + 1 === shape.length) return;
  for (const inner of data) {
    if (!Array.isArray(inner)) {
      throw invalid(
        `${label}: data holds ${show(inner)} at nesting level ${axis + 1}; an array belongs there`,
      );
    }
    checkNested(inner, shape, label, axis + 1);
  }
}

function walk(
  data: readonly unknown[],
  shape: readonly number[],
  axis: number,
  offset: number,
  fill: Fill,
): typeof beyondDouble | undefined {
  if (axis + 1 === shape.length) return fill(data, offset);
  const stride = elementCount(shape.slice(axis + 1));
  let at = offset;
  for (const inner of data) {
    if (walk(inner as readonly unknown[], shape, axis + 1, at, fill)) return beyondDouble;
    at += stride;
  }
  return undefined;
}

function writer(datatype: Exclude<Datatype, "FP16" | "BF16">, buffer: ArrayBuffer, label: string): Fill {
  switch (datatype) {
    case "BOOL":
      return booleans(new Uint8Array(buffer), label);
    case "FP32":
      return floats(new Float32Array(buffer), datatype, label);
    case "FP64":
      return floats(new Float64Array(buffer), datatype, label);
    case "INT64":
      return longs(new BigInt64Array(buffer), -(2n ** 63n), 2n ** 63n - 1n, datatype, label);
    case "UINT64":
      return longs(new BigUint64Array(buffer), 0n, 2n ** 64n - 1n, datatype, label);
    case "INT8":
      return integers(new Int8Array(buffer), -128, 127, datatype, label);
    case "INT16":
      return integers(new Int16Array(buffer), -32768, 32767, datatype, label);
    case "INT32":
      return integers(new Int32Array(buffer), -(2 ** 31), 2 ** 31 - 1, datatype, label);
    case "UINT8":
      return integers(new Uint8Array(buffer), 0, 255, datatype, label);
    case "UINT16":
      return integers(new Uint16Array(buffer), 0, 65535, datatype, label);
    case "UINT32":
      return integers(new Uint32Array(buffer), 0, 2 ** 32 - 1, datatype, label);
    default:
      return datatype satisfies never;
  }
}

function floats(out: Float32Array | Float64Array, datatype: Datatype, label: string): Fill {
  return (values, offset) => {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i];
      if (typeof value !== "number") throw refused(label, offset + i, value, `${datatype} wants numbers`);
      out[offset + i] = value;
      // Rounded to infinity (1e39 as FP32), or parsed as such (1e400).
      if (!Number.isFinite(out[offset + i]))
        throw refused(label, offset + i, value, `out of ${datatype}'s range`);
    }
    return undefined;
  };
}

function integers(
  out: Exclude<TypedArray, BigInt64Array | BigUint64Array>,
  min: number,
  max: number,
  datatype: Datatype,
  label: string,
): Fill {
  return (values, offset) => {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i];
      if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
        throw refused(label, offset + i, value, `${datatype} wants whole numbers from ${min} to ${max}`);
      }
      out[offset + i] = value;
    }
    return undefined;
  };
}

function longs(
  out: BigInt64Array | BigUint64Array,
  min: bigint,
  max: bigint,
  datatype: Datatype,
  label: string,
): Fill {
  const wanted = `${datatype} wants whole numbers from ${min} to ${max}, plain digits beyond 2^53`;
  return (values, offset) => {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i];
      if (typeof value === "number") {
        // In the exact parse only numbers with a fraction or an exponent are still doubles.
        if (!Number.isInteger(value)) throw refused(label, offset + i, value, wanted);
        if (!Number.isSafeInteger(value)) return beyondDouble;
      } else if (typeof value !== "bigint") {
        throw refused(label, offset + i, value, wanted);
      }
      const whole = BigInt(value);
      if (whole < min || whole > max) throw refused(label, offset + i, value, wanted);
      out[offset + i] = whole;
    }
    return undefined;
  };
}

function booleans(out: Uint8Array, label: string): Fill {
  return (values, offset) => {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i];
      if (typeof value !== "boolean") throw refused(label, offset + i, value, "BOOL wants true or false");
      out[offset + i] = value ? 1 : 0;
    }
    return undefined;
  };
}

function refused(label: string, index: number, value: unknown, why: string): Error {
  return invalid(`${label}: element ${index} is ${show(value)}; ${why}`);
}
