import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { GatewayError } from "../core/errors.ts";
import type { Datatype } from "../core/tensor.ts";

/** What an ONNX file says of itself; weights are not read. */
export interface OnnxFacts {
  readonly irVersion: number;
  /** The default domain's operator set. */
  readonly opset: number;
  /** Real inputs only: old exports list their initializers as inputs too. */
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly string[];
  /** Of the dense ones. */
  readonly initializerShapes: ReadonlyMap<string, readonly number[]>;
  /** Initializers that are listed as inputs, so that a caller could replace them. */
  readonly replaceable: readonly string[];
  /** Files beside the model that hold weights. */
  readonly externalFiles: readonly string[];
  readonly nodes: readonly OnnxNode[];
}

export interface OnnxValue {
  readonly name: string;
  /** Absent for what is no tensor, or a tensor of a type that engines do not exchange (strings). */
  readonly datatype: Datatype | undefined;
  /** -1: dynamic. Absent when the file does not tell the rank. */
  readonly shape: readonly number[] | undefined;
}

export interface OnnxNode {
  readonly opType: string;
  readonly domain: string;
  /** Names of tensors; an optional one that is left out is "". */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** The node as it lies in the file. */
  readonly raw: Uint8Array;
}

/** Field numbers of onnx.proto3, as far as they are read here. */
export const fields = {
  model: { irVersion: 1, graph: 7, opset: 8 },
  graph: { node: 1, initializer: 5, input: 11, output: 12, sparseInitializer: 15 },
  node: { input: 1, output: 2, opType: 4, attribute: 5, domain: 7 },
  tensor: { dims: 1, name: 8, externalData: 13 },
} as const;

/**
 * Reads an ONNX model's interface and node list from its bytes (onnx.proto3 of the ONNX project).
 *
 * @throws GatewayError `invalid` when it is no ONNX model.
 */
export function readOnnx(bytes: Uint8Array, name: string): OnnxFacts {
  return asModel(name, () => {
    const facts = readModel(bytes);
    if (facts === undefined) throw new Error("it holds no graph; export the model again");
    return facts;
  });
}

/** Runs a reader of ONNX bytes; whatever it stumbles over is a fault of the file. @throws GatewayError `invalid`. */
export function asModel<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new GatewayError("invalid", `${name}: is not an ONNX model: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Calls `visit` for each field of a message; `visit` reads the field or returns false to pass over it. */
export function eachField(
  bytes: Uint8Array,
  visit: (field: number, reader: BinaryReader, type: WireType) => boolean,
): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (!visit(field, reader, type)) reader.skip(type, field);
  }
}

function readModel(bytes: Uint8Array): OnnxFacts | undefined {
  let irVersion = 0;
  let opset = 0;
  let graph: Uint8Array | undefined;
  eachField(bytes, (field, reader, type) => {
    if (field === fields.model.irVersion) irVersion = Number(reader.int64());
    else if (field === fields.model.graph && type === WireType.LengthDelimited) graph = reader.bytes();
    else if (field === fields.model.opset) {
      const [domain, version] = readOpset(reader.bytes());
      if (domain === "" || domain === "ai.onnx") opset = version;
    } else return false;
    return true;
  });
  return graph === undefined ? undefined : { irVersion, opset, ...readGraph(graph) };
}

function readOpset(bytes: Uint8Array): [domain: string, version: number] {
  let domain = "";
  let version = 0;
  eachField(bytes, (field, reader) => {
    if (field === 1) domain = reader.string();
    else if (field === 2) version = Number(reader.int64());
    else return false;
    return true;
  });
  return [domain, version];
}

function readGraph(bytes: Uint8Array): Omit<OnnxFacts, "irVersion" | "opset"> {
  const listed: OnnxValue[] = [];
  const outputs: OnnxValue[] = [];
  const initializers = new Set<string>();
  const initializerShapes = new Map<string, readonly number[]>();
  const externalFiles = new Set<string>();
  const nodes: OnnxNode[] = [];
  eachField(bytes, (field, reader) => {
    switch (field) {
      case fields.graph.node:
        nodes.push(readNode(reader.bytes()));
        return true;
      case fields.graph.initializer: {
        const { name, shape, location } = readTensorHead(reader.bytes());
        initializers.add(name);
        initializerShapes.set(name, shape);
        if (location !== undefined) externalFiles.add(location);
        return true;
      }
      case fields.graph.sparseInitializer:
        // Its first field, the values, carries the name.
        eachField(reader.bytes(), (inner, part) => {
          if (inner !== 1) return false;
          initializers.add(readTensorHead(part.bytes()).name);
          return true;
        });
        return true;
      case fields.graph.input:
        listed.push(readValue(reader.bytes()));
        return true;
      case fields.graph.output:
        outputs.push(readValue(reader.bytes()));
        return true;
      default:
        return false;
    }
  });
  return {
    inputs: listed.filter((value) => !initializers.has(value.name)),
    outputs,
    initializers: [...initializers],
    initializerShapes,
    replaceable: listed.filter((value) => initializers.has(value.name)).map((value) => value.name),
    externalFiles: [...externalFiles],
    nodes,
  };
}

function readNode(raw: Uint8Array): OnnxNode {
  let opType = "";
  let domain = "";
  const inputs: string[] = [];
  const outputs: string[] = [];
  eachField(raw, (field, reader) => {
    if (field === fields.node.input) inputs.push(reader.string());
    else if (field === fields.node.output) outputs.push(reader.string());
    else if (field === fields.node.opType) opType = reader.string();
    else if (field === fields.node.domain) domain = reader.string();
    else return false;
    return true;
  });
  return { opType, domain, inputs, outputs, raw };
}

function readTensorHead(bytes: Uint8Array): { name: string; shape: number[]; location: string | undefined } {
  let name = "";
  const shape: number[] = [];
  let location: string | undefined;
  eachField(bytes, (field, reader, type) => {
    if (field === fields.tensor.dims) {
      // One by one or packed, as the writer liked.
      const end = type === WireType.LengthDelimited ? reader.uint32() + reader.pos : reader.pos + 1;
      while (reader.pos < end) shape.push(Number(reader.int64()));
    } else if (field === fields.tensor.name) name = reader.string();
    else if (field === fields.tensor.externalData) {
      const [key, value] = readPair(reader.bytes());
      if (key === "location") location = value;
    } else return false;
    return true;
  });
  return { name, shape, location };
}

function readPair(bytes: Uint8Array): [key: string, value: string] {
  const pair: [string, string] = ["", ""];
  eachField(bytes, (field, reader) => {
    if (field !== 1 && field !== 2) return false;
    pair[field - 1] = reader.string();
    return true;
  });
  return pair;
}

function readValue(bytes: Uint8Array): OnnxValue {
  let name = "";
  let datatype: Datatype | undefined;
  let shape: number[] | undefined;
  eachField(bytes, (field, reader) => {
    if (field === 1) name = reader.string();
    else if (field === 2) {
      // TypeProto: 1 is tensor_type, the only kind that engines exchange.
      eachField(reader.bytes(), (kind, type) => {
        if (kind !== 1) return false;
        eachField(type.bytes(), (part, tensor) => {
          if (part === 1) datatype = elementTypes.get(tensor.int32());
          else if (part === 2) shape = readShape(tensor.bytes());
          else return false;
          return true;
        });
        return true;
      });
    } else return false;
    return true;
  });
  return { name, datatype, shape };
}

function readShape(bytes: Uint8Array): number[] {
  const shape: number[] = [];
  eachField(bytes, (field, reader) => {
    if (field !== 1) return false;
    let size = -1;
    eachField(reader.bytes(), (part, dimension) => {
      if (part !== 1) return false;
      size = Number(dimension.int64());
      return true;
    });
    shape.push(size);
    return true;
  });
  return shape;
}

/** TensorProto.DataType. */
export const elementTypes: ReadonlyMap<number, Datatype> = new Map([
  [1, "FP32"],
  [2, "UINT8"],
  [3, "INT8"],
  [4, "UINT16"],
  [5, "INT16"],
  [6, "INT32"],
  [7, "INT64"],
  [9, "BOOL"],
  [10, "FP16"],
  [11, "FP64"],
  [12, "UINT32"],
  [13, "UINT64"],
  [16, "BF16"],
]);
