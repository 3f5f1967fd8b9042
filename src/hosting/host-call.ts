import { byteSize, datatypeCode, typedView, type TensorSpec, type TypedArray } from "../core/tensor.ts";
import {
  decodeInferPayload,
  encodeInferPayload,
  tensorAlignment,
  type TensorDescriptor,
} from "./descriptor.ts";
import { isStatic, shapeMisfit } from "./fit.ts";

/**
 * One INFER, as a host's engine sees it. The object stays with its slot while the same payload comes, and `bound` with it:
 * what the engine prepared for these shapes and places (runtime tensors, device buffers).
 */
export interface HostCall<Bound> {
  readonly slot: number;
  /** All of them, in the order of the engine's inputs. */
  readonly inputs: readonly HostTensor[];
  /** Those asked for, in the order asked. */
  readonly outputs: readonly HostOutput[];
  bound: Bound | undefined;
}

export interface HostTensor {
  readonly spec: TensorSpec;
  /** In the engine's list of inputs or outputs. */
  readonly index: number;
  readonly shape: readonly number[];
  /** The elements where they lie in the shared memory. */
  readonly data: TypedArray;
}

export interface HostOutput {
  readonly spec: TensorSpec;
  readonly index: number;
  /** Undefined until `resize` for an output of dynamic shape. */
  readonly shape: readonly number[] | undefined;
  /**
   * Fixes the shape and gives the elements' place in the shared memory.
   * @throws OutputTooLarge when the space does not do
   */
  readonly resize: (shape: readonly number[]) => TypedArray;
}

/** The input does not fit the engine: the client's mistake, answered with BAD_REQUEST. */
export class BadRequest extends Error {}

/** The space of an output does not do; answered with OUTPUT_TOO_LARGE, upon which the gateway makes more and asks again. */
export class OutputTooLarge extends Error {
  readonly index: number;
  readonly bytes: number;
  constructor(index: number, bytes: number) {
    super(`output ${index} needs ${bytes} bytes`);
    this.index = index;
    this.bytes = bytes;
  }
}

/** A call and the answer's payload for it, which is encoded anew only when an output's shape changes. */
export interface BoundCall<Bound> extends HostCall<Bound> {
  readonly payload: Buffer;
  readonly answer: () => Buffer;
}

/**
 * INFER's payload as tensors in the mapped memory.
 * @throws BadRequest | OutputTooLarge
 */
export function bindCall<Bound>(
  specs: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
  memory: ArrayBuffer,
  slot: number,
  payload: Buffer,
): BoundCall<Bound> {
  const asked = decode(payload);
  const inputs: HostTensor[] = [];
  for (const descriptor of asked.inputs) {
    const spec = place(specs.inputs, "input", descriptor, memory);
    const misfit = shapeMisfit(spec, descriptor.shape);
    if (misfit !== undefined) throw new BadRequest(`input ${misfit}`);
    if (descriptor.bytes !== byteSize(spec.datatype, descriptor.shape)) {
      throw new BadRequest(
        `input "${spec.name}" has ${descriptor.bytes} bytes; [${descriptor.shape.join(", ")}] ${spec.datatype} is another size`,
      );
    }
    if (inputs[descriptor.index] !== undefined) throw new BadRequest(`input "${spec.name}" is given twice`);
    const bytes = new Uint8Array(memory, descriptor.offset, descriptor.bytes);
    inputs[descriptor.index] = {
      spec,
      index: descriptor.index,
      shape: descriptor.shape,
      data: typedView(spec.datatype, bytes),
    };
  }
  for (const [index, spec] of specs.inputs.entries()) {
    if (inputs[index] === undefined) throw new BadRequest(`input "${spec.name}" is missing`);
  }
  const outputs = asked.outputs.map((descriptor) =>
    createOutput(place(specs.outputs, "output", descriptor, memory), descriptor, memory),
  );
  let changes = -1;
  let encoded: Buffer = Buffer.alloc(0);
  return {
    slot,
    inputs,
    outputs,
    bound: undefined,
    payload,
    answer: () => {
      const now = outputs.reduce((sum, output) => sum + output.changes(), 0);
      if (now !== changes) {
        encoded = encodeInferPayload({ inputs: [], outputs: outputs.map((output) => output.describe()) });
        changes = now;
      }
      return encoded;
    },
  };
}

function decode(payload: Buffer): ReturnType<typeof decodeInferPayload> {
  try {
    return decodeInferPayload(payload);
  } catch (error) {
    throw new BadRequest(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function place(
  specs: readonly TensorSpec[],
  what: "input" | "output",
  { index, code, offset, bytes }: TensorDescriptor,
  memory: ArrayBuffer,
): TensorSpec {
  const spec = specs[index];
  if (spec === undefined) throw new BadRequest(`the engine has no ${what} ${index}, it has ${specs.length}`);
  if (code !== datatypeCode(spec.datatype)) {
    throw new BadRequest(
      `${what} "${spec.name}" is ${spec.datatype}, code ${datatypeCode(spec.datatype)}, not code ${code}`,
    );
  }
  if (offset % tensorAlignment !== 0 || offset + bytes > memory.byteLength) {
    throw new BadRequest(
      `${what} "${spec.name}" at offset ${offset} with ${bytes} bytes is not in the shared file`,
    );
  }
  return spec;
}

interface Output extends HostOutput {
  readonly changes: () => number;
  readonly describe: () => TensorDescriptor;
}

function createOutput(spec: TensorSpec, descriptor: TensorDescriptor, memory: ArrayBuffer): Output {
  const { index, code, offset, bytes: space } = descriptor;
  let shape: readonly number[] | undefined;
  let data: TypedArray | undefined;
  let changes = 0;
  const output: Output = {
    spec,
    index,
    get shape() {
      return shape;
    },
    resize(wanted) {
      if (data !== undefined && shape !== undefined && sameShape(shape, wanted)) return data;
      const bytes = byteSize(spec.datatype, wanted);
      if (bytes > space) throw new OutputTooLarge(index, bytes);
      shape = [...wanted];
      data = typedView(spec.datatype, new Uint8Array(memory, offset, bytes));
      changes += 1;
      return data;
    },
    changes: () => changes,
    describe: () => {
      if (shape === undefined) throw new Error(`the engine left output "${spec.name}" without a shape`);
      return { index, code, shape, offset, bytes: byteSize(spec.datatype, shape) };
    },
  };
  if (isStatic(spec)) output.resize(spec.shape);
  return output;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}
