import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { asModel, elementTypes, fields, type OnnxValue, readOnnx } from "./onnx.ts";

/** From this version on an initializer need not be listed as an input (onnx, IR.md, version history). */
const firstConstantIr = 4;

/**
 * The same model with its initializers as true constants: they are taken off the list of inputs, so that nobody can
 * replace them and compilers may fold them. Files of IR versions below 4 are raised to it. The weights are not
 * touched.
 *
 * @throws GatewayError `invalid` when it is no ONNX model.
 */
export function withConstantInitializers(bytes: Uint8Array, name: string): Uint8Array {
  const { irVersion, replaceable } = readOnnx(bytes, name);
  if (replaceable.length === 0) return bytes;
  return asModel(name, () => constantGraph(bytes, irVersion, new Set(replaceable)));
}

/**
 * The same model with true constants, inputs of exactly these shapes, and further tensors as outputs, whose types are left
 * for the runtime to infer.
 *
 * @throws GatewayError `invalid` when it is no ONNX model.
 */
export function withShownTensors(
  bytes: Uint8Array,
  name: string,
  { inputs, tensors }: { inputs: ReadonlyMap<string, readonly number[]>; tensors: Iterable<string> },
): Uint8Array {
  const constant = withConstantInitializers(bytes, name);
  const facts = readOnnx(constant, name);
  const known = new Map(facts.inputs.map((value) => [value.name, value]));
  return asModel(name, () =>
    rewrite(constant, (field, raw, writer) => {
      if (field !== fields.model.graph) return false;
      const graph = rewrite(new BinaryReader(raw).bytes(), (inner, value, graphWriter) => {
        if (inner !== fields.graph.input) return false;
        const input = known.get(nameOf(new BinaryReader(value).bytes()));
        const shape = input && inputs.get(input.name);
        if (input?.datatype === undefined || shape === undefined) return false;
        graphWriter.tag(inner, WireType.LengthDelimited).bytes(valueInfo(input.name, input.datatype, shape));
        return true;
      });
      // What follows in a message adds to its lists.
      const outputs = new BinaryWriter();
      for (const tensor of tensors)
        outputs.tag(fields.graph.output, WireType.LengthDelimited).bytes(valueInfo(tensor));
      writer.tag(field, WireType.LengthDelimited).bytes(Buffer.concat([graph, outputs.finish()]));
      return true;
    }),
  );
}

/** ValueInfoProto. */
function valueInfo(
  name: string,
  datatype?: OnnxValue["datatype"],
  shape: readonly number[] = [],
): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
  if (datatype === undefined) return writer.finish();
  const [code = 0] = [...elementTypes].find(([, type]) => type === datatype) ?? [];
  writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.Varint).int32(code).tag(2, WireType.LengthDelimited).fork();
  for (const size of shape)
    writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(size).join();
  return writer.join().join().join().finish();
}

function constantGraph(bytes: Uint8Array, irVersion: number, dropped: ReadonlySet<string>): Uint8Array {
  return rewrite(bytes, (field, raw, writer) => {
    if (field === fields.model.irVersion && irVersion < firstConstantIr) {
      writer.tag(field, WireType.Varint).int64(firstConstantIr);
      return true;
    }
    if (field !== fields.model.graph) return false;
    const graph = rewrite(
      new BinaryReader(raw).bytes(),
      (inner, value) => inner === fields.graph.input && dropped.has(nameOf(new BinaryReader(value).bytes())),
    );
    writer.tag(field, WireType.LengthDelimited).bytes(graph);
    return true;
  });
}

/** Copies a message field by field; a field is left to `replace` when that returns true. */
function rewrite(
  bytes: Uint8Array,
  replace: (field: number, raw: Uint8Array, writer: BinaryWriter) => boolean,
): Uint8Array {
  const reader = new BinaryReader(bytes);
  const writer = new BinaryWriter();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const start = reader.pos;
    reader.skip(type, field);
    const raw = bytes.subarray(start, reader.pos);
    if (!replace(field, raw, writer)) writer.tag(field, type).raw(raw);
  }
  return writer.finish();
}

/** ValueInfoProto.name. */
function nameOf(value: Uint8Array): string {
  const reader = new BinaryReader(value);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) return reader.string();
    reader.skip(type, field);
  }
  return "";
}
