import { parse } from "lossless-json";
import type { Tensor, TensorSpec } from "../core/tensor.ts";
import { takeBinary, takeRaw } from "./v2-binary.ts";
import { decodeJsonTensor } from "./v2-json.ts";
import type { InferEnvelope, WireInput } from "./v2-request.ts";
import { invalid, show } from "./v2-request.ts";

/**
 * The request's tensors, in the order of `specs`, checked against them. Binary data is used where it lies in the body.
 * @throws GatewayError `invalid` naming the tensor, what was given and what is wanted.
 */
export function bindInputs(envelope: InferEnvelope, specs: readonly TensorSpec[]): Tensor[] {
  if (envelope.raw) return [takeRaw(envelope.binary, specs)];
  const tensors = new Map<string, Tensor>();
  let binaryAt = 0;
  envelope.inputs.forEach((input, index) => {
    const spec = specs.find(({ name }) => name === input.name);
    if (!spec)
      throw invalid(`input ${show(input.name)} is not one of the model's; it takes ${namesOf(specs)}`);
    if (tensors.has(input.name)) throw invalid(`input ${show(input.name)} is given twice; give it once`);
    checkAgainst(spec, input);
    let data: Uint8Array;
    if (input.binaryBytes === undefined) {
      data = decodeJsonTensor(input, spec.datatype, () => exactData(envelope.jsonText, index));
    } else {
      data = takeBinary(envelope.binary, binaryAt, input, spec.datatype);
      binaryAt += input.binaryBytes;
    }
    tensors.set(input.name, { name: input.name, datatype: spec.datatype, shape: input.shape, data });
  });
  if (binaryAt !== envelope.binary.byteLength) {
    throw invalid(
      `the body has ${envelope.binary.byteLength} bytes after its JSON part, but the inputs' binary_data_size ` +
        `add up to ${binaryAt}`,
    );
  }
  return specs.map((spec) => {
    const tensor = tensors.get(spec.name);
    if (!tensor) throw invalid(`input ${show(spec.name)} is missing; the model takes ${namesOf(specs)}`);
    return tensor;
  });
}

function checkAgainst(spec: TensorSpec, input: WireInput): void {
  const label = `input ${show(input.name)}`;
  if (input.datatype !== spec.datatype) {
    throw invalid(`${label} has datatype ${show(input.datatype)}; the model wants ${spec.datatype}`);
  }
  const { shape } = input;
  const fits =
    shape.length === spec.shape.length &&
    spec.shape.every((wanted, axis) => {
      const given = shape[axis] ?? -1;
      if (wanted !== -1) return given === wanted;
      const bounds = spec.bounds?.[axis];
      return !bounds || (given >= bounds[0] && given <= bounds[1]);
    });
  if (!fits) throw invalid(`${label} has shape [${shape.join(",")}]; the model wants ${shapeOf(spec)}`);
}

function shapeOf(spec: TensorSpec): string {
  const axes = spec.shape.map((size, axis) => {
    const bounds = size === -1 ? spec.bounds?.[axis] : undefined;
    return bounds ? `${bounds[0]}..${bounds[1]}` : `${size}`;
  });
  return `[${axes.join(",")}]${spec.shape.includes(-1) ? " (-1: any size)" : ""}`;
}

function namesOf(specs: readonly TensorSpec[]): string {
  return specs.map(({ name }) => show(name)).join(", ");
}

/** The data of input number `index` with whole numbers as bigints: for values beyond 2^53 alone, it is slow. */
function exactData(jsonText: string, index: number): unknown {
  let root: unknown;
  try {
    root = parse(jsonText, null, (text) => (/^-?\d+$/.test(text) ? BigInt(text) : Number(text)));
  } catch (error) {
    throw invalid(
      `whole numbers beyond 2^53 need a second, exact parse, which failed: ${error instanceof Error ? error.message : ""}`,
    );
  }
  return (root as { inputs: { data: unknown }[] }).inputs[index]?.data;
}
