/**
 * Tiny ONNX models, written as protobuf by hand, so that no model file needs to be kept for tests: each tensor goes
 * through an Identity node to `<name>-out`. Field numbers are of onnx.proto3.
 */
export function identityModel(
  tensors: readonly {
    readonly name: string;
    readonly type: keyof typeof onnxTypes;
    readonly shape: readonly (number | string)[];
  }[],
): Buffer {
  const node = ({ name }: { name: string }) =>
    bytes(1, [text(1, name), text(2, `${name}-out`), text(4, "Identity")]);
  const value = (
    field: number,
    name: string,
    type: keyof typeof onnxTypes,
    shape: readonly (number | string)[],
  ) => {
    const dims = shape.map((dim) => bytes(1, [typeof dim === "number" ? integer(1, dim) : text(2, dim)]));
    return bytes(field, [text(1, name), bytes(2, [bytes(1, [integer(1, onnxTypes[type]), bytes(2, dims)])])]);
  };
  const graph = [
    ...tensors.map(node),
    text(2, "identity"),
    ...tensors.map(({ name, type, shape }) => value(11, name, type, shape)),
    ...tensors.map(({ name, type, shape }) => value(12, `${name}-out`, type, shape)),
  ];
  return Buffer.concat([integer(1, 8), bytes(7, graph), bytes(8, [text(1, ""), integer(2, 16)])]);
}

const onnxTypes = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
  BF16: 16,
} as const;

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128);
  return Buffer.from([...out, rest]);
}

function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function bytes(field: number, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);
}

function text(field: number, value: string): Buffer {
  return bytes(field, [Buffer.from(value)]);
}
