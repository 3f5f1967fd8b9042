/**
 * Tensors as the gateway sees them: a name, a V2 datatype, a shape and the raw bytes, little-endian, row-major,
 * without padding (the layout of Triton's binary tensor extension, so that binary bodies are used where they lie).
 */
export interface Tensor {
  readonly name: string;
  readonly datatype: Datatype;
  /** Every dimension >= 0; empty for a scalar. */
  readonly shape: readonly number[];
  /** `byteSize(datatype, shape)` bytes; may start at any byte offset of its buffer. */
  readonly data: Uint8Array;
}

/** What an engine takes or gives: -1 marks a dynamic dimension, `bounds` its [min, max] where the engine has some. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly bounds?: readonly (readonly [min: number, max: number])[] | undefined;
}

/** V2 datatypes that engines exchange. BYTES exists on the wire only (classification results). */
export type Datatype = keyof typeof datatypeTable;

/** Element size in bytes and the code used in engine host frames (docs/engine-host.md). */
const datatypeTable = {
  BOOL: { bytes: 1, code: 1 },
  UINT8: { bytes: 1, code: 2 },
  UINT16: { bytes: 2, code: 3 },
  UINT32: { bytes: 4, code: 4 },
  UINT64: { bytes: 8, code: 5 },
  INT8: { bytes: 1, code: 6 },
  INT16: { bytes: 2, code: 7 },
  INT32: { bytes: 4, code: 8 },
  INT64: { bytes: 8, code: 9 },
  FP16: { bytes: 2, code: 10 },
  FP32: { bytes: 4, code: 11 },
  FP64: { bytes: 8, code: 12 },
  BF16: { bytes: 2, code: 13 },
} as const;

export const datatypes = Object.keys(datatypeTable) as readonly Datatype[];

const datatypeByCode = new Map<number, Datatype>(datatypes.map((name) => [datatypeTable[name].code, name]));

export function isDatatype(name: unknown): name is Datatype {
  return typeof name === "string" && Object.hasOwn(datatypeTable, name);
}

export function elementBytes(datatype: Datatype): number {
  return datatypeTable[datatype].bytes;
}

export function datatypeCode(datatype: Datatype): number {
  return datatypeTable[datatype].code;
}

export function datatypeFromCode(code: number): Datatype | undefined {
  return datatypeByCode.get(code);
}

export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) count *= dimension;
  return count;
}

export function byteSize(datatype: Datatype, shape: readonly number[]): number {
  return elementCount(shape) * elementBytes(datatype);
}

/** One typed array per datatype; FP16 and BF16 stay raw 16-bit words. BOOL is one byte an element. */
export type TypedArray =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

/** The tensor's elements as a typed array; copies only when the bytes are not aligned to the element size. */
export function typedView(datatype: Datatype, data: Uint8Array): TypedArray {
  const size = elementBytes(datatype);
  // Not slice(): a Buffer's is a view on the same bytes.
  const aligned = data.byteOffset % size === 0 ? data : new Uint8Array(data);
  const count = aligned.byteLength / size;
  const { buffer, byteOffset } = aligned;
  switch (datatype) {
    case "BOOL":
    case "UINT8":
      return new Uint8Array(buffer, byteOffset, count);
    case "UINT16":
    case "FP16":
    case "BF16":
      return new Uint16Array(buffer, byteOffset, count);
    case "UINT32":
      return new Uint32Array(buffer, byteOffset, count);
    case "UINT64":
      return new BigUint64Array(buffer, byteOffset, count);
    case "INT8":
      return new Int8Array(buffer, byteOffset, count);
    case "INT16":
      return new Int16Array(buffer, byteOffset, count);
    case "INT32":
      return new Int32Array(buffer, byteOffset, count);
    case "INT64":
      return new BigInt64Array(buffer, byteOffset, count);
    case "FP32":
      return new Float32Array(buffer, byteOffset, count);
    case "FP64":
      return new Float64Array(buffer, byteOffset, count);
    default:
      return datatype satisfies never;
  }
}
