import type { EngineInfo } from "../core/engine.ts";
import { byteSize, datatypeFromCode, type Tensor, type TensorSpec } from "../core/tensor.ts";
import { decodeInferPayload, type TensorDescriptor } from "./descriptor.ts";
import { shapeMisfit } from "./fit.ts";
import type { SharedFile } from "./shared-file.ts";

/** Gaps between outputs up to this size are cheaper to read along than another call is. */
const gapBytes = 4096;

/**
 * The outputs of an INFER answer, checked against what was asked and copied out of the shared file.
 * @throws Error that says what is wrong with the answer: the host is broken
 */
export function readOutputs(
  info: EngineInfo,
  asked: readonly TensorDescriptor[],
  base: number,
  payload: Buffer,
  file: SharedFile,
): readonly Tensor[] {
  const { inputs, outputs } = decodeInferPayload(payload);
  if (inputs.length !== 0 || outputs.length !== asked.length) {
    throw new Error(
      `${inputs.length} inputs and ${outputs.length} outputs where ${asked.length} outputs were asked`,
    );
  }
  for (const [position, answer] of outputs.entries())
    check(info, asked[position] as TensorDescriptor, base, answer);

  // Outputs lie side by side, so one read does for all unless one fills little of a large space.
  let [first, end, filled] = [Infinity, 0, 0];
  for (const { offset, bytes } of outputs) {
    first = Math.min(first, offset);
    end = Math.max(end, offset + bytes);
    filled += bytes;
  }
  const all =
    outputs.length > 0 && end - first - filled <= gapBytes ? file.read(first, end - first) : undefined;
  return outputs.map(({ index, shape, offset, bytes }) => {
    const { name, datatype } = info.outputs[index] as TensorSpec;
    const data =
      all === undefined ? file.read(offset, bytes) : all.subarray(offset - first, offset - first + bytes);
    return { name, datatype, shape, data };
  });
}

function check(info: EngineInfo, asked: TensorDescriptor, base: number, answer: TensorDescriptor): void {
  if (answer.index !== asked.index) throw new Error(`output ${answer.index} where ${asked.index} was asked`);
  const spec = info.outputs[asked.index] as TensorSpec;
  if (answer.code !== asked.code) {
    throw new Error(`output "${spec.name}" as ${datatypeFromCode(answer.code) ?? `code ${answer.code}`}`);
  }
  // The bounds of an output tell how much space to give it; what really comes only has to fit in there.
  const misfit = shapeMisfit(spec.bounds === undefined ? spec : { ...spec, bounds: undefined }, answer.shape);
  if (misfit !== undefined) throw new Error(`output ${misfit}`);
  if (answer.offset !== base + asked.offset) throw new Error(`output "${spec.name}" at another offset`);
  if (answer.bytes > asked.bytes || answer.bytes !== byteSize(spec.datatype, answer.shape)) {
    throw new Error(
      `output "${spec.name}" of ${answer.bytes} bytes in a space of ${asked.bytes}, with shape [${answer.shape.join(", ")}]`,
    );
  }
}
