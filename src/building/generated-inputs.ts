import type { Random } from "../compare/statistics/random.ts";
import { byteSize, elementBytes, type Tensor, type TensorSpec, typedView } from "../core/tensor.ts";

/**
 * Seeded inputs for a model without samples: floats evenly in [0, 1), whole numbers in 0..127 (0 and 1 for BOOL), which
 * every type holds. Dynamic dimensions are taken at their least.
 */
export function generatedInputs(specs: readonly TensorSpec[], random: Random): Tensor[] {
  return specs.map((spec) => {
    const shape = spec.shape.map((size, axis) =>
      size >= 0 ? size : Math.max(1, spec.bounds?.[axis]?.[0] ?? 1),
    );
    const data = new Uint8Array(byteSize(spec.datatype, shape));
    fill(spec, data, random);
    return { name: spec.name, datatype: spec.datatype, shape, data };
  });
}

function fill({ datatype }: TensorSpec, data: Uint8Array, random: Random): void {
  const view = typedView(datatype, data);
  if (view instanceof Float32Array || view instanceof Float64Array) {
    for (let i = 0; i < view.length; i += 1) view[i] = random.next();
    return;
  }
  if (datatype === "FP16" || datatype === "BF16") {
    const words = new DataView(data.buffer);
    const toWord = datatype === "FP16" ? toHalf : toBrain;
    for (let at = 0; at < data.length; at += 2) words.setUint16(at, toWord(random.next()), true);
    return;
  }
  // Little-endian whole numbers below 128: the lowest byte, the others zero.
  const step = elementBytes(datatype);
  const values = datatype === "BOOL" ? 2 : 128;
  for (let at = 0; at < data.length; at += step) data[at] = Math.floor(random.next() * values);
}

/** Binary16 of a number in [0, 1), cut to 10 bits of fraction; what is below its normal range becomes 0. */
function toHalf(value: number): number {
  if (value < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | Math.floor((value / 2 ** exponent - 1) * 1024);
}

/** bfloat16 is the upper half of a float32. */
function toBrain(value: number): number {
  floats[0] = value;
  return (words[0] as number) >>> 16;
}
const floats = new Float32Array(1);
const words = new Uint32Array(floats.buffer);
