import { byteSize, type Datatype, elementBytes } from "../core/tensor.ts";
import { GatewayError } from "../core/errors.ts";

/** An array of an .npy or .npz file: raw, little-endian, row-major. */
export interface NpyArray {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

const magic = "\x93NUMPY";
/** numpy aligns the data so that it can be mapped. */
const alignment = 64;

/**
 * Reads one array in numpy's .npy format, versions 1 to 3 (numpy/lib/format.py); big-endian and column-major
 * ones are turned round.
 *
 * @throws GatewayError `invalid` for anything but a plain numeric array whose size fits.
 */
export function parseNpy(bytes: Uint8Array, name: string): NpyArray {
  const fault = (why: string): GatewayError => new GatewayError("invalid", `${name}: ${why}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 10 || Buffer.from(bytes.subarray(0, 6)).toString("latin1") !== magic) {
    throw fault("is not in numpy's .npy format; save it with numpy.save or numpy.savez");
  }
  const version = view.getUint8(6);
  if (version < 1 || version > 3) throw fault(`.npy version ${version} is unknown; versions 1 to 3 are read`);
  const lengthBytes = version === 1 ? 2 : 4;
  const start = 8 + lengthBytes;
  if (bytes.length < start) throw fault("is cut short");
  const end = start + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (end > bytes.length) throw fault("is cut short in its header");
  const header = Buffer.from(bytes.subarray(start, end)).toString(version === 3 ? "utf8" : "latin1");

  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const fortran = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const dimensions = /'shape':\s*\(([0-9,\sL]*)\)/.exec(header)?.[1];
  if (descr === undefined || fortran === undefined || dimensions === undefined) {
    throw fault("is not a plain array; structured arrays are not read");
  }
  const datatype = datatypeOf(descr);
  if (datatype === undefined) {
    throw fault(
      `numpy type '${descr}' is not read; convert it to a plain number type, such as float32 or int64`,
    );
  }
  const shape = dimensions
    .split(",")
    .map((text) => text.trim().replace(/L$/, ""))
    .filter((text) => text !== "")
    .map(Number);
  const expected = byteSize(datatype, shape);
  const actual = bytes.length - end;
  if (expected !== actual)
    throw fault(`shape [${shape.join(", ")}] needs ${expected} bytes, the file holds ${actual}`);
  let data = bytes.subarray(end);
  const size = elementBytes(datatype);
  if (descr.startsWith(">") && size > 1) data = swapBytes(data, size);
  if (fortran === "True") data = toRowMajor(data, shape, size);
  return { datatype, shape, data };
}

/** What comes before the data in a file of version 1.0, as numpy writes it. */
export function npyHeader({ datatype, shape }: Omit<NpyArray, "data">): Uint8Array {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const header = `{'descr': '${numpyType[datatype]}', 'fortran_order': False, 'shape': (${tuple}), }`;
  const padded = Math.ceil((10 + header.length + 1) / alignment) * alignment;
  const bytes = Buffer.alloc(padded);
  bytes.write(magic, 0, "latin1");
  bytes.writeUInt8(1, 6);
  bytes.writeUInt16LE(padded - 10, 8);
  bytes.write(`${header.padEnd(padded - 11)}\n`, 10, "latin1");
  return bytes;
}

const numpyType: Readonly<Record<Datatype, string>> = {
  BOOL: "|b1",
  UINT8: "|u1",
  UINT16: "<u2",
  UINT32: "<u4",
  UINT64: "<u8",
  INT8: "|i1",
  INT16: "<i2",
  INT32: "<i4",
  INT64: "<i8",
  FP16: "<f2",
  FP32: "<f4",
  FP64: "<f8",
  // numpy has no bfloat16; ml_dtypes, which adds it, saves it as two opaque bytes.
  BF16: "<V2",
};

const datatypeByNumpyCode = new Map(
  Object.entries(numpyType).map(([datatype, code]) => [code.slice(1), datatype as Datatype]),
);

function datatypeOf(descr: string): Datatype | undefined {
  return /^[<>|=]/.test(descr) ? datatypeByNumpyCode.get(descr.slice(1)) : undefined;
}

function swapBytes(data: Uint8Array, size: number): Uint8Array {
  const copy = Buffer.from(data);
  if (size === 2) return copy.swap16();
  return size === 4 ? copy.swap32() : copy.swap64();
}

function toRowMajor(data: Uint8Array, shape: readonly number[], size: number): Uint8Array {
  const result = new Uint8Array(data.byteLength);
  const index = shape.map(() => 0);
  const strides: number[] = [];
  let stride = size;
  for (const dimension of shape) {
    strides.push(stride);
    stride *= dimension;
  }
  for (let at = 0; at < data.byteLength; at += size) {
    let from = 0;
    for (let axis = 0; axis < shape.length; axis += 1) from += (index[axis] ?? 0) * (strides[axis] ?? 0);
    result.set(data.subarray(from, from + size), at);
    for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
      const next = (index[axis] ?? 0) + 1;
      index[axis] = next === shape[axis] ? 0 : next;
      if (index[axis] !== 0) break;
    }
  }
  return result;
}
