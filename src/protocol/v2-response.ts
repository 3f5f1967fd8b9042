import { GatewayError } from "../core/errors.ts";
import type { Tensor, TensorSpec } from "../core/tensor.ts";
import { classify } from "./classification.ts";
import { encodeJsonData } from "./json-data.ts";
import type { InferEnvelope, WireOutput } from "./v2-request.ts";
import { invalid, show } from "./v2-request.ts";

export interface EncodedResponse {
  /** Inference-Header-Content-Length; undefined when all is JSON. */
  readonly headerLength: number | undefined;
  readonly totalBytes: number;
  /** To be sent in this order; tensors' bytes are not copied. */
  readonly parts: readonly Uint8Array[];
}

/**
 * The outputs wanted, as `{name, binary, classification}` each: the request's own, or all of the model's.
 * @throws GatewayError `invalid` for an unknown output, and for a form that its datatype does not have.
 */
export function resolveOutputs(envelope: InferEnvelope, specs: readonly TensorSpec[]): readonly WireOutput[] {
  const wanted =
    envelope.outputs ??
    specs.map(({ name }) => ({ name, binary: envelope.binaryByDefault, classification: 0 }));
  for (const output of wanted) {
    const spec = specs.find(({ name }) => name === output.name);
    const label = `output ${show(output.name)}`;
    if (!spec) {
      throw invalid(
        `${label} is not one of the model's; it gives ${specs.map(({ name }) => show(name)).join(", ")}`,
      );
    }
    const half = spec.datatype === "FP16" || spec.datatype === "BF16";
    if (output.classification > 0 && (half || spec.datatype === "BOOL")) {
      throw invalid(
        `${label} is ${spec.datatype}, which has no classification; ask for the tensor in binary`,
      );
    }
    if (half && !output.binary) {
      throw invalid(
        `${label} is ${spec.datatype}, which has no JSON form; ask for it with "binary_data": true`,
      );
    }
  }
  return wanted;
}

/** @throws GatewayError `engineFailed` when an output holds NaN or Infinity and was asked for in JSON. */
export function encodeInferResponse(reply: {
  readonly id: string;
  readonly model: string;
  readonly engine: string;
  readonly outputs: readonly Tensor[];
  readonly wanted: readonly WireOutput[];
  readonly labels?: readonly string[] | undefined;
}): EncodedResponse {
  const parts: Uint8Array[] = [];
  const binary: Uint8Array[] = [];
  let json =
    `{"id":${JSON.stringify(reply.id)},"model_name":"${reply.model}","model_version":"1",` +
    `"parameters":{"engine":"${reply.engine}"},"outputs":[`;
  let separator = "";
  for (const wanted of reply.wanted) {
    const tensor = reply.outputs.find(({ name }) => name === wanted.name);
    if (!tensor)
      throw new GatewayError("internal", `engine "${reply.engine}" gave no output ${show(wanted.name)}`);
    const classes =
      wanted.classification > 0 ? classify(tensor, wanted.classification, reply.labels) : undefined;
    const { datatype, shape } = classes ?? tensor;
    json += `${separator}{"name":${JSON.stringify(wanted.name)},"datatype":"${datatype}","shape":[${shape.join(",")}],`;
    separator = ",";
    if (wanted.binary) {
      const data = classes ? classes.bytes() : tensor.data;
      binary.push(data);
      json += `"parameters":{"binary_data_size":${data.byteLength}}}`;
    } else if (classes) {
      json += `"data":${JSON.stringify(classes.strings)}}`;
    } else {
      parts.push(Buffer.from(`${json}"data":[`), encodeJsonData(tensor));
      json = "]}";
    }
  }
  parts.push(Buffer.from(`${json}]}`));
  const headerBytes = sizeOf(parts);
  return {
    headerLength: binary.length > 0 ? headerBytes : undefined,
    totalBytes: headerBytes + sizeOf(binary),
    parts: [...parts, ...binary],
  };
}

function sizeOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const part of parts) bytes += part.byteLength;
  return bytes;
}
