import type { EngineInfo } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import { byteSize, datatypeCode, type TensorSpec } from "../core/tensor.ts";
import { alignTensor, type InferPayload } from "./descriptor.ts";
import { isStatic } from "./fit.ts";

/** Where a request's tensors lie in a slot, from the slot's first byte. */
export interface SlotLayout extends InferPayload {
  readonly bytes: number;
}

/** Inputs, then outputs, each aligned; `space` is what each of the engine's outputs may fill. */
export function layOut(
  info: EngineInfo,
  inputShapes: readonly (readonly number[])[],
  outputs: readonly number[],
  space: readonly number[],
): SlotLayout {
  let at = 0;
  function place(spec: TensorSpec, index: number, shape: readonly number[], bytes: number) {
    const descriptor = { index, code: datatypeCode(spec.datatype), shape, offset: at, bytes };
    at = alignTensor(at + bytes);
    return descriptor;
  }
  const placedInputs = info.inputs.map((spec, index) => {
    const shape = inputShapes[index] as readonly number[];
    return place(spec, index, shape, byteSize(spec.datatype, shape));
  });
  const placedOutputs = outputs.map((index) =>
    place(info.outputs[index] as TensorSpec, index, [], space[index] as number),
  );
  return { inputs: placedInputs, outputs: placedOutputs, bytes: at };
}

/** Unknown sizes begin here and grow when a host answers OUTPUT_TOO_LARGE. */
const firstGuessBytes = 64 * 1024;

/** Bounds may promise far more than ever comes. */
const boundsTrustedBytes = 16 * 1024 * 1024;

/** The space that each output gets at first. */
export function outputSpace(info: EngineInfo): number[] {
  return info.outputs.map((spec) => {
    if (isStatic(spec)) return byteSize(spec.datatype, spec.shape);
    if (spec.bounds === undefined) return firstGuessBytes;
    const largest = spec.shape.map((dimension, axis) =>
      dimension >= 0 ? dimension : (spec.bounds?.[axis]?.[1] ?? 0),
    );
    return Math.min(byteSize(spec.datatype, largest), boundsTrustedBytes);
  });
}

/** Outputs of dynamic shape are given no more space than this in one slot. */
const spaceLimitBytes = 2 ** 30;

/**
 * The space with room for `bytes` of one output; the same list when it has it already, as when several requests were in
 * flight that needed it. @throws GatewayError `engineFailed` when it is too much
 */
export function enlargeSpace(
  info: EngineInfo,
  space: readonly number[],
  output: number,
  bytes: number,
): readonly number[] {
  const have = space[output] ?? 0;
  if (bytes <= have) return space;
  if (bytes > spaceLimitBytes) {
    throw new GatewayError(
      "engineFailed",
      `output "${info.outputs[output]?.name}" needs ${bytes} bytes, more than the limit of ${spaceLimitBytes}`,
    );
  }
  // Doubling, so that a slowly growing output does not map anew each time.
  const wanted = Math.min(spaceLimitBytes, Math.max(bytes, 2 * have));
  return space.map((old, index) => (index === output ? wanted : old));
}

/** The smallest shape a spec allows, for the first layout and the first run. */
export function smallestShape(spec: TensorSpec): readonly number[] {
  return spec.shape.map((dimension, axis) =>
    dimension >= 0 ? dimension : Math.max(1, spec.bounds?.[axis]?.[0] ?? 1),
  );
}
