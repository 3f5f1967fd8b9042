import { readUInt64, writeSafeUInt64 } from "./frame.ts";

/** A tensor in an INFER payload: where it lies in the shared file. An output of a request has an empty shape. */
export interface TensorDescriptor {
  /** In LOAD's list of inputs or outputs. */
  readonly index: number;
  readonly code: number;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

export interface InferPayload {
  readonly inputs: readonly TensorDescriptor[];
  readonly outputs: readonly TensorDescriptor[];
}

export const rankLimit = 16;

/** Offsets in the shared file are multiples of this, for the widest vector loads there are. */
export const tensorAlignment = 256;

const countsBytes = 8;
const fixedBytes = 24;

/** u16 inputs, u16 outputs, u32 zero, then the descriptors, inputs first. */
export function encodeInferPayload(payload: InferPayload): Buffer {
  let size = countsBytes;
  for (const list of [payload.inputs, payload.outputs]) {
    for (const { shape } of list) size += fixedBytes + 8 * shape.length;
  }
  const bytes = Buffer.alloc(size);
  bytes.writeUInt16LE(payload.inputs.length, 0);
  bytes.writeUInt16LE(payload.outputs.length, 2);
  let at = countsBytes;
  for (const list of [payload.inputs, payload.outputs]) {
    for (const { index, code, shape, offset, bytes: length } of list) {
      bytes.writeUInt16LE(index, at);
      bytes.writeUInt8(code, at + 2);
      bytes.writeUInt8(shape.length, at + 3);
      writeSafeUInt64(bytes, offset, at + 8);
      writeSafeUInt64(bytes, length, at + 16);
      at += fixedBytes;
      for (const dimension of shape) {
        writeSafeUInt64(bytes, dimension, at);
        at += 8;
      }
    }
  }
  return bytes;
}

/** @throws RangeError when the payload is cut short, too long, or a rank is above the limit. */
export function decodeInferPayload(bytes: Buffer): InferPayload {
  if (bytes.length < countsBytes)
    throw new RangeError(`an INFER payload of ${bytes.length} bytes has no counts`);
  const inputs: TensorDescriptor[] = [];
  const outputs: TensorDescriptor[] = [];
  const inputCount = bytes.readUInt16LE(0);
  const total = inputCount + bytes.readUInt16LE(2);
  let at = countsBytes;
  for (let position = 0; position < total; position += 1) {
    if (at + fixedBytes > bytes.length) throw new RangeError("the payload ends inside a descriptor");
    const rank = bytes.readUInt8(at + 3);
    if (rank > rankLimit) throw new RangeError(`rank ${rank} is more than ${rankLimit}`);
    const start = at + fixedBytes;
    if (start + 8 * rank > bytes.length) throw new RangeError("the payload ends inside a descriptor");
    const shape: number[] = [];
    // A negative i64 comes out above 2^63 here, and no check of a dimension lets that pass.
    for (let axis = 0; axis < rank; axis += 1) shape.push(readUInt64(bytes, start + 8 * axis));
    (position < inputCount ? inputs : outputs).push({
      index: bytes.readUInt16LE(at),
      code: bytes.readUInt8(at + 2),
      shape,
      offset: readUInt64(bytes, at + 8),
      bytes: readUInt64(bytes, at + 16),
    });
    at = start + 8 * rank;
  }
  if (at !== bytes.length)
    throw new RangeError(`the payload has ${bytes.length} bytes, its descriptors ${at}`);
  return { inputs, outputs };
}

/** The next offset at which a tensor may begin. */
export function alignTensor(offset: number): number {
  return Math.ceil(offset / tensorAlignment) * tensorAlignment;
}
