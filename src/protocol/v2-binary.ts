import type { Datatype, Tensor, TensorSpec } from "../core/tensor.ts";
import { byteSize, elementBytes, elementCount } from "../core/tensor.ts";
import type { WireInput } from "./v2-request.ts";
import { invalid, show } from "./v2-request.ts";

/**
 * Bytes of one input from the binary part of a body, not copied. Little-endian, row-major, no padding
 * (Triton's binary tensor data extension).
 */
export function takeBinary(binary: Uint8Array, at: number, input: WireInput, datatype: Datatype): Uint8Array {
  const label = `input ${show(input.name)}`;
  const size = input.binaryBytes ?? 0;
  const wanted = byteSize(datatype, input.shape);
  if (size !== wanted) {
    throw invalid(
      `${label}: binary_data_size is ${size}, but ${datatype} of shape [${input.shape.join(",")}] takes ${wanted} bytes`,
    );
  }
  if (at + size > binary.byteLength) {
    throw invalid(
      `${label}: binary_data_size is ${size}, but only ${binary.byteLength - at} bytes are left after the JSON part; ` +
        "was the body cut short, or Inference-Header-Content-Length left out?",
    );
  }
  const data = binary.subarray(at, at + size);
  if (datatype === "BOOL") checkBooleans(data, label);
  return data;
}

/** A body without JSON is the one input of the model; a single dynamic dimension follows from its size. */
export function takeRaw(body: Uint8Array, specs: readonly TensorSpec[]): Tensor {
  const [spec] = specs;
  if (!spec || specs.length !== 1) {
    throw invalid(
      `Inference-Header-Content-Length is 0, which sends one input without JSON, but the model takes ${specs.length}`,
    );
  }
  const { name, datatype } = spec;
  const dynamic = spec.shape.filter((size) => size === -1).length;
  const rest = elementCount(spec.shape.filter((size) => size !== -1)) * elementBytes(datatype);
  const size = body.byteLength / rest;
  const fits = dynamic === 0 ? size === 1 : dynamic === 1 && Number.isInteger(size);
  const axis = spec.shape.indexOf(-1);
  const bounds = axis < 0 ? undefined : spec.bounds?.[axis];
  if (!fits || (bounds && (size < bounds[0] || size > bounds[1]))) {
    throw invalid(
      `the raw body has ${body.byteLength} bytes, which is no ${datatype} of shape [${spec.shape.join(",")}] ` +
        `for input ${show(name)}; send JSON with the shape`,
    );
  }
  if (datatype === "BOOL") checkBooleans(body, `input ${show(name)}`);
  return { name, datatype, shape: spec.shape.map((given) => (given === -1 ? size : given)), data: body };
}

function checkBooleans(data: Uint8Array, label: string): void {
  const at = data.findIndex((byte) => byte > 1);
  if (at >= 0) throw invalid(`${label}: byte ${at} is ${data[at]}; a BOOL is one byte, 0 or 1`);
}
