import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { asModel, fields, readOnnx } from "./onnx.ts";

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
