import { isUtf8 } from "node:buffer";
import { GatewayError } from "../core/errors.ts";

/**
 * The JSON part of a V2 infer request with everything checked that needs no model: what the client wants, which
 * engine, until when. The tensors are bound to the model's specs by v2-inputs.ts.
 * Wire: Open Inference Protocol, inference_rest.md; Triton's binary tensor data extension for `binary`.
 */
export interface InferEnvelope {
  readonly id: string | undefined;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly inputs: readonly WireInput[];
  /** undefined: all outputs. */
  readonly outputs: readonly WireOutput[] | undefined;
  /** How outputs without a `binary_data` of their own are sent. */
  readonly binaryByDefault: boolean;
  readonly timeoutMicroseconds: number | undefined;
  readonly pinnedEngine: string | undefined;
  /** The text of the JSON part, for INT64 values that a double cannot hold. */
  readonly jsonText: string;
  /** What follows the JSON part; the binary tensors, in the inputs' order. */
  readonly binary: Uint8Array;
  /** Header length 0: the body is the model's one input, without JSON. */
  readonly raw: boolean;
}

export interface WireInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Exactly one of the two is set. */
  readonly data: readonly unknown[] | undefined;
  readonly binaryBytes: number | undefined;
}

export interface WireOutput {
  readonly name: string;
  readonly binary: boolean;
  /** Triton's classification extension: how many classes; 0 for the tensor itself. */
  readonly classification: number;
}

/**
 * Reads the body of POST .../infer.
 * @param headerLength Inference-Header-Content-Length; undefined when the header is absent, so that all is JSON.
 * @throws GatewayError `invalid`.
 */
export function parseInferRequest(body: Uint8Array, headerLength?: number): InferEnvelope {
  if (headerLength === 0) return rawEnvelope(body);
  const jsonBytes = headerLength ?? body.byteLength;
  if (jsonBytes > body.byteLength) {
    throw invalid(
      `Inference-Header-Content-Length is ${jsonBytes}, but the body has only ${body.byteLength} bytes; ` +
        "it must be the length of the JSON part",
    );
  }
  const jsonText = decodeText(body.subarray(0, jsonBytes));
  const root = parseJson(jsonText);
  if (!isObject(root)) throw invalid(`the request must be a JSON object, not ${kindOf(root)}`);
  const parameters = objectOrEmpty(root.parameters, "parameters");
  refuseSequences(parameters);
  const binaryByDefault =
    booleanParameter(parameters.binary_data_output, "parameters.binary_data_output") ?? false;
  return {
    id: requestId(root.id),
    parameters,
    inputs: parseInputs(root.inputs),
    outputs: parseOutputs(root.outputs, binaryByDefault),
    binaryByDefault,
    timeoutMicroseconds: timeout(parameters.timeout),
    pinnedEngine: pinnedEngine(parameters.engine),
    jsonText,
    binary: body.subarray(jsonBytes),
    raw: false,
  };
}

/** Triton's raw binary request: one input, its shape from the model, outputs in binary. */
function rawEnvelope(body: Uint8Array): InferEnvelope {
  return {
    id: undefined,
    parameters: {},
    inputs: [],
    outputs: undefined,
    binaryByDefault: true,
    timeoutMicroseconds: undefined,
    pinnedEngine: undefined,
    jsonText: "",
    binary: body,
    raw: true,
  };
}

function decodeText(bytes: Uint8Array): string {
  if (bytes.byteLength === 0) throw invalid("the body is empty; send a JSON object with inputs");
  if (!isUtf8(bytes)) throw invalid("the JSON part of the body is not valid UTF-8");
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "syntax error";
    throw invalid(
      `the JSON part of the body does not parse: ${reason} ` +
        "(JSON has no NaN or Infinity; tensors holding them go in binary)",
    );
  }
}

function refuseSequences(parameters: Record<string, unknown>): void {
  for (const name of ["sequence_id", "sequence_start", "sequence_end"]) {
    const value = parameters[name];
    // Clients that know no sequences send the neutral values.
    if (value === undefined || value === 0 || value === "" || value === false) continue;
    throw invalid(`parameters.${name} is ${show(value)}, but inference here has no state; leave it out`);
  }
}

function requestId(id: unknown): string | undefined {
  if (id === undefined || id === "") return undefined;
  if (typeof id !== "string") throw invalid(`id must be a string, not ${kindOf(id)}`);
  if (id.length > maxIdLength) {
    throw invalid(`id has ${id.length} characters; at most ${maxIdLength} are kept`);
  }
  return id;
}

function timeout(value: unknown): number | undefined {
  if (value === undefined || value === 0) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw invalid(`parameters.timeout is ${show(value)}; it must be a whole number of microseconds`);
  }
  return value;
}

function pinnedEngine(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value === "") {
    throw invalid(`parameters.engine is ${show(value)}; it must be the id of an engine of the model`);
  }
  return value;
}

function parseInputs(inputs: unknown): WireInput[] {
  if (!Array.isArray(inputs)) throw invalid(`inputs must be an array of tensors, not ${kindOf(inputs)}`);
  return inputs.map((entry: unknown, index) => {
    if (!isObject(entry)) throw invalid(`inputs[${index}] must be a tensor object, not ${kindOf(entry)}`);
    const name = tensorName(entry.name, `inputs[${index}]`);
    const label = `input ${show(name)}`;
    if (typeof entry.datatype !== "string")
      throw invalid(`${label}: datatype must be a string such as "FP32"`);
    const parameters = objectOrEmpty(entry.parameters, `${label}: parameters`);
    refuseSharedMemory(parameters, label);
    const binaryBytes = sizeParameter(parameters.binary_data_size, `${label}: binary_data_size`);
    const data = entry.data;
    if (binaryBytes === undefined && data === undefined) {
      throw invalid(
        `${label} has no data; give a data array, or parameters.binary_data_size and binary data`,
      );
    }
    if (binaryBytes !== undefined && data !== undefined) {
      throw invalid(`${label} has both data and binary_data_size; give one of them`);
    }
    if (data !== undefined && !Array.isArray(data)) {
      throw invalid(`${label}: data must be an array, not ${kindOf(data)}`);
    }
    return { name, datatype: entry.datatype, shape: parseShape(entry.shape, label), data, binaryBytes };
  });
}

/** Shapes are bounded here, so that no later product can overflow. */
function parseShape(shape: unknown, label: string): number[] {
  if (!Array.isArray(shape))
    throw invalid(`${label}: shape must be an array of whole numbers, not ${kindOf(shape)}`);
  if (shape.length > maxRank)
    throw invalid(`${label}: shape has ${shape.length} dimensions; at most ${maxRank}`);
  let count = 1;
  for (const dimension of shape as unknown[]) {
    if (typeof dimension !== "number" || !Number.isSafeInteger(dimension) || dimension < 0) {
      throw invalid(`${label}: shape holds ${show(dimension)}; every dimension must be a whole number >= 0`);
    }
    if (dimension > 0) count *= dimension;
    if (count > maxElements) {
      throw invalid(`${label}: shape [${shape.join(",")}] has more than ${maxElements} elements`);
    }
  }
  return shape as number[];
}

function parseOutputs(outputs: unknown, binaryByDefault: boolean): WireOutput[] | undefined {
  if (outputs === undefined) return undefined;
  if (!Array.isArray(outputs)) throw invalid(`outputs must be an array, not ${kindOf(outputs)}`);
  if (outputs.length === 0) return undefined;
  const seen = new Set<string>();
  return outputs.map((entry: unknown, index) => {
    if (!isObject(entry))
      throw invalid(`outputs[${index}] must be an object with a name, not ${kindOf(entry)}`);
    const name = tensorName(entry.name, `outputs[${index}]`);
    const label = `output ${show(name)}`;
    if (seen.has(name)) throw invalid(`${label} is asked for twice; name each output once`);
    seen.add(name);
    const parameters = objectOrEmpty(entry.parameters, `${label}: parameters`);
    refuseSharedMemory(parameters, label);
    return {
      name,
      binary: booleanParameter(parameters.binary_data, `${label}: binary_data`) ?? binaryByDefault,
      classification: sizeParameter(parameters.classification, `${label}: classification`) ?? 0,
    };
  });
}

function tensorName(name: unknown, label: string): string {
  if (typeof name !== "string" || name === "") throw invalid(`${label}: name must be a non-empty string`);
  return name;
}

function refuseSharedMemory(parameters: Record<string, unknown>, label: string): void {
  if (parameters.shared_memory_region === undefined) return;
  throw invalid(`${label}: shared memory regions are not offered; send the data in the body`);
}

function sizeParameter(value: unknown, label: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${label} is ${show(value)}; it must be a whole number >= 0`);
  }
  return value;
}

function booleanParameter(value: unknown, label: string): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(`${label} is ${show(value)}; it must be true or false`);
}

function objectOrEmpty(value: unknown, label: string): Record<string, unknown> {
  if (value === undefined) return {};
  if (!isObject(value)) throw invalid(`${label} must be an object, not ${kindOf(value)}`);
  return value;
}

export function invalid(message: string): GatewayError {
  return new GatewayError("invalid", message);
}

/** A client's value as it may stand in a message: JSON, cut short. */
export function show(value: unknown): string {
  const text = value === undefined ? "missing" : typeof value === "bigint" ? `${value}` : nameInfinity(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function nameInfinity(value: unknown): string {
  // JSON.parse turns 1e400 into Infinity, which JSON.stringify would call null.
  if (typeof value === "number" && !Number.isFinite(value)) return "a number beyond the range of a double";
  if (Array.isArray(value)) return "an array";
  if (isObject(value)) return "an object";
  return JSON.stringify(value);
}

function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : `a value of type ${typeof value}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As many as an engine host's descriptor holds (docs/engine-host.md). */
const maxRank = 16;
/** With at most 8 bytes an element, byte sizes stay exact integers. */
const maxElements = 2 ** 48;
const maxIdLength = 256;
