import { elementBytes, typedView, type Tensor, type TypedArray } from "../core/tensor.ts";
import { halfTable } from "./half.ts";

/** Elements decoded at a time: three scratch arrays of 32 kB stay in the first-level caches. */
export const chunkSize = 4096;

/** Decodes [start, start + count) of two tensors of one datatype: values as doubles and their distance in ULP. */
export type ChunkReader = (start: number, count: number) => void;

export interface Chunk {
  readonly reference: Float64Array;
  readonly candidate: Float64Array;
  /** 0 only for equal values; NaN and infinities give figures without meaning. */
  readonly ulp: Float64Array;
}

/** Shared by all comparisons of a thread: comparing is synchronous. */
export const chunk: Chunk = {
  reference: new Float64Array(chunkSize),
  candidate: new Float64Array(chunkSize),
  ulp: new Float64Array(chunkSize),
};

/** Whole numbers and BOOL: classes, indices, masks. */
export function isWhole({ datatype }: Pick<Tensor, "datatype">): boolean {
  return datatype === "BOOL" || datatype.startsWith("INT") || datatype.startsWith("UINT");
}

/**
 * A tensor's values as numbers; 64-bit integers lose what lies beyond 2^53. Types that JavaScript lacks are decoded into
 * memory that is used again: the values hold until the next call for the same place.
 */
export function numbers(tensor: Tensor, place: 0 | 1 = 0): ArrayLike<number> {
  const { datatype, data } = tensor;
  const count = data.byteLength / elementBytes(datatype);
  switch (datatype) {
    case "INT64":
    case "UINT64":
      return decodeLong(
        words(tensor),
        datatype === "INT64",
        new Float64Array(scratch(place, data), 0, count),
      );
    case "FP16":
      return decodeHalf(view(tensor) as Uint16Array, new Float32Array(scratch(place, data), 0, count));
    case "BF16":
      return decodeBfloat(view(tensor) as Uint16Array, new Uint32Array(scratch(place, data), 0, count));
    default:
      return view(tensor) as NumberArray;
  }
}

/** Kept: large arrays are dear to make and to collect. */
const places: [ArrayBuffer, ArrayBuffer] = [new ArrayBuffer(0), new ArrayBuffer(0)];

/** Decoded, an element takes at most twice its bytes. */
function scratch(place: 0 | 1, { byteLength }: Uint8Array): ArrayBuffer {
  if (places[place].byteLength < 2 * byteLength) places[place] = new ArrayBuffer(2 * byteLength);
  return places[place];
}

function decodeLong(from: Uint32Array, signed: boolean, to: Float64Array): Float64Array {
  for (let i = 0; i < to.length; i += 1) {
    const high = from[2 * i + 1] as number;
    to[i] = (signed ? high | 0 : high) * 0x100000000 + (from[2 * i] as number);
  }
  return to;
}

function decodeHalf(from: Uint16Array, to: Float32Array): Float32Array {
  const table = halfTable();
  for (let i = 0; i < to.length; i += 1) to[i] = table[from[i] as number] as number;
  return to;
}

/** Bits of floats, whose upper half a BF16 is. */
function decodeBfloat(from: Uint16Array, to: Uint32Array<ArrayBuffer>): Float32Array {
  for (let i = 0; i < to.length; i += 1) to[i] = (from[i] as number) << 16;
  return new Float32Array(to.buffer, 0, to.length);
}

/** The reader into `chunk` for two tensors of the same datatype and size. */
export function chunkReader(reference: Tensor, candidate: Tensor): ChunkReader {
  const { datatype } = reference;
  switch (datatype) {
    case "FP32":
      return readFloat32(
        view(reference) as Float32Array,
        view(candidate) as Float32Array,
        bits32(reference),
        bits32(candidate),
      );
    case "FP16":
      return readHalf(view(reference) as Uint16Array, view(candidate) as Uint16Array, halfTable());
    case "BF16":
      return readBfloat(view(reference) as Uint16Array, view(candidate) as Uint16Array);
    case "FP64":
      return readFloat64(view(reference) as Float64Array, view(candidate) as Float64Array);
    case "INT64":
    case "UINT64":
      return readLong(words(reference), words(candidate), datatype === "INT64");
    default:
      return readWhole(view(reference) as NumberArray, view(candidate) as NumberArray);
  }
}

type NumberArray = Exclude<TypedArray, BigInt64Array | BigUint64Array>;

function view(tensor: Tensor): TypedArray {
  return typedView(tensor.datatype, tensor.data);
}

/** Low and high halves in turn: a 64-bit element as it stands would be an object of its own. */
function words(tensor: Tensor): Uint32Array {
  return typedView("UINT32", tensor.data) as Uint32Array;
}

function bits32(tensor: Tensor): Int32Array {
  return typedView("INT32", tensor.data) as Int32Array;
}

/*
 * Floats of one type, read as sign and magnitude, are ordered like integers: two neighbours differ by 1. A negative
 * pattern is mirrored so that -0 and +0 both become 0.
 */

function readFloat32(a: Float32Array, b: Float32Array, aBits: Int32Array, bBits: Int32Array): ChunkReader {
  const { reference, candidate, ulp } = chunk;
  return (start, count) => {
    for (let i = 0; i < count; i += 1) {
      reference[i] = a[start + i] as number;
      candidate[i] = b[start + i] as number;
      const m = aBits[start + i] as number;
      const n = bBits[start + i] as number;
      ulp[i] = Math.abs((m < 0 ? -0x80000000 - m : m) - (n < 0 ? -0x80000000 - n : n));
    }
  };
}

function readHalf(a: Uint16Array, b: Uint16Array, table: Float32Array): ChunkReader {
  const { reference, candidate, ulp } = chunk;
  return (start, count) => {
    for (let i = 0; i < count; i += 1) {
      const m = a[start + i] as number;
      const n = b[start + i] as number;
      reference[i] = table[m] as number;
      candidate[i] = table[n] as number;
      ulp[i] = Math.abs((m & 0x8000 ? 0x8000 - m : m) - (n & 0x8000 ? 0x8000 - n : n));
    }
  };
}

function readBfloat(a: Uint16Array, b: Uint16Array): ChunkReader {
  const { reference, candidate, ulp } = chunk;
  const word = new Uint32Array(1);
  const float = new Float32Array(word.buffer);
  return (start, count) => {
    for (let i = 0; i < count; i += 1) {
      const m = a[start + i] as number;
      const n = b[start + i] as number;
      word[0] = m << 16;
      reference[i] = float[0] as number;
      word[0] = n << 16;
      candidate[i] = float[0] as number;
      ulp[i] = Math.abs((m & 0x8000 ? 0x8000 - m : m) - (n & 0x8000 ? 0x8000 - n : n));
    }
  };
}

function readFloat64(a: Float64Array, b: Float64Array): ChunkReader {
  const { reference, candidate, ulp } = chunk;
  const float = new Float64Array(1);
  const words = new Int32Array(float.buffer);
  // High and low words apart: their differences are exact where a 64-bit integer would not fit a double.
  const sign = (high: number) => (high < 0 ? -1 : 1);
  return (start, count) => {
    for (let i = 0; i < count; i += 1) {
      float[0] = reference[i] = a[start + i] as number;
      const m = words[1] as number;
      const mLow = (words[0] as number) >>> 0;
      float[0] = candidate[i] = b[start + i] as number;
      const n = words[1] as number;
      const nLow = (words[0] as number) >>> 0;
      const high = sign(m) * (m & 0x7fffffff) - sign(n) * (n & 0x7fffffff);
      ulp[i] = Math.abs(high * 0x100000000 + (sign(m) * mLow - sign(n) * nLow));
    }
  };
}

/** Values are rounded beyond 2^53; the distance is 0 for equal ones only, as halves are subtracted before they are joined. */
function readLong(a: Uint32Array, b: Uint32Array, signed: boolean): ChunkReader {
  const { reference, candidate, ulp } = chunk;
  return (start, count) => {
    for (let i = 0; i < count; i += 1) {
      const at = 2 * (start + i);
      const mLow = a[at] as number;
      const nLow = b[at] as number;
      const m = signed ? (a[at + 1] as number) | 0 : (a[at + 1] as number);
      const n = signed ? (b[at + 1] as number) | 0 : (b[at + 1] as number);
      reference[i] = m * 0x100000000 + mLow;
      candidate[i] = n * 0x100000000 + nLow;
      ulp[i] = Math.abs((m - n) * 0x100000000 + (mLow - nLow));
    }
  };
}

function readWhole(a: NumberArray, b: NumberArray): ChunkReader {
  const { reference, candidate, ulp } = chunk;
  return (start, count) => {
    for (let i = 0; i < count; i += 1) {
      const m = a[start + i] as number;
      const n = b[start + i] as number;
      reference[i] = m;
      candidate[i] = n;
      ulp[i] = Math.abs(m - n);
    }
  };
}
