/**
 * Frames of the engine host protocol, version 1 (docs/engine-host.md): a 64-byte head, little-endian, and its payload.
 * Both sides read and write them here.
 */
export const frame = {
  magic: 0x314b4358,
  headBytes: 64,
  payloadLimit: 1 << 20,
  /** An answer has the request's type plus this. */
  answerBit: 128,
} as const;

export const frameType = { load: 1, map: 2, infer: 3, ping: 4, unload: 5 } as const;
export type FrameType = (typeof frameType)[keyof typeof frameType];

export const frameStatus = {
  ok: 0,
  badRequest: 1,
  engineError: 2,
  outputTooLarge: 3,
  loadFailed: 4,
  notLoaded: 5,
} as const;
export type FrameStatus = (typeof frameStatus)[keyof typeof frameStatus];

/** A host exits with this when the other side breaks the protocol. */
export const brokenPeerExitCode = 70;

/** Descriptors that a host is given. */
export const hostDescriptor = { frames: 3, memory: 4, artifact: 5 } as const;

export interface FrameHead {
  readonly magic: number;
  readonly type: number;
  readonly status: number;
  readonly generation: number;
  readonly slot: number;
  readonly sequence: number;
  readonly payloadBytes: number;
  readonly engineNanoseconds: number;
  readonly deviceNanoseconds: number;
}

/** One buffer with head and payload, to be written in one go. The sequence may be patched later. */
export function encodeFrame(
  head: {
    readonly type: number;
    readonly generation: number;
    readonly slot?: number;
    readonly sequence: number;
    readonly status?: FrameStatus;
    readonly engineNanoseconds?: number;
    readonly deviceNanoseconds?: number;
  },
  payload: Uint8Array,
): Buffer {
  const bytes = Buffer.alloc(frame.headBytes + payload.byteLength);
  bytes.writeUInt32LE(frame.magic, 0);
  bytes.writeUInt16LE(head.type, 4);
  bytes.writeUInt16LE(head.status ?? 0, 6);
  bytes.writeUInt32LE(head.generation, 8);
  bytes.writeUInt32LE(head.slot ?? 0, 12);
  writeSafeUInt64(bytes, head.sequence, 16);
  bytes.writeUInt32LE(payload.byteLength, 24);
  writeSafeUInt64(bytes, head.engineNanoseconds ?? 0, 32);
  writeSafeUInt64(bytes, head.deviceNanoseconds ?? 0, 40);
  bytes.set(payload, frame.headBytes);
  return bytes;
}

export function patchSequence(encoded: Buffer, sequence: number): void {
  writeSafeUInt64(encoded, sequence, 16);
}

/** The head that starts at `offset`; the caller has made sure that 64 bytes are there. Numbers above 2^53 lose digits. */
export function decodeHead(bytes: Buffer, offset: number): FrameHead {
  return {
    magic: bytes.readUInt32LE(offset),
    type: bytes.readUInt16LE(offset + 4),
    status: bytes.readUInt16LE(offset + 6),
    generation: bytes.readUInt32LE(offset + 8),
    slot: bytes.readUInt32LE(offset + 12),
    sequence: readUInt64(bytes, offset + 16),
    payloadBytes: bytes.readUInt32LE(offset + 24),
    engineNanoseconds: readUInt64(bytes, offset + 32),
    deviceNanoseconds: readUInt64(bytes, offset + 40),
  };
}

/** As a number: sizes and offsets beyond 2^53 are out of every range that is checked afterwards. */
export function readUInt64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 2 ** 32;
}

export function writeSafeUInt64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, offset);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}
