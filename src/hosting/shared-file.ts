import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { GatewayError } from "../core/errors.ts";

/**
 * The memory that the gateway shares with one host: a file in RAM, without a name once it is open. The gateway reads and
 * writes it by position and never maps it, so a host that truncates it can hurt only itself.
 */
export interface SharedFile {
  readonly descriptor: number;
  readonly bytes: number;
  /** @throws GatewayError `unavailable` when there is no space. What is there stays. */
  grow(bytes: number): void;
  write(data: Uint8Array, offset: number): void;
  /** `length` bytes in a buffer of their own. @throws RangeError when the file has become shorter */
  read(offset: number, length: number): Uint8Array;
  close(): void;
}

const zeros = Buffer.alloc(1 << 20);

export function createSharedFile(directory: string): SharedFile {
  const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
  const path = `${directory}/crosscheck-${randomBytes(16).toString("hex")}`;
  let descriptor: number;
  try {
    descriptor = fs.openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (cause) {
    throw new GatewayError("unavailable", `cannot create shared memory in ${directory}`, { cause });
  }
  fs.unlinkSync(path);
  let bytes = 0;
  let closed = false;
  return {
    descriptor,
    get bytes() {
      return bytes;
    },
    grow(wanted) {
      try {
        // Zeros are written, not left as a hole: a page that cannot be had must fail here, not as SIGBUS in the host.
        while (bytes < wanted) {
          bytes += fs.writeSync(descriptor, zeros, 0, Math.min(zeros.length, wanted - bytes), bytes);
        }
      } catch (cause) {
        throw new GatewayError(
          "unavailable",
          `no space for ${wanted} bytes of shared memory in ${directory}; enlarge it (docker run --shm-size) or run fewer engines`,
          { cause },
        );
      }
    },
    write(data, offset) {
      let written = fs.writeSync(descriptor, data, 0, data.byteLength, offset);
      while (written < data.byteLength) {
        written += fs.writeSync(descriptor, data, written, data.byteLength - written, offset + written);
      }
    },
    read(offset, length) {
      // Not zeroed first, and no Buffer: the `slice` of one is a view where a typed array's is a copy.
      const data = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
      for (let got = 0; got < length;) {
        const more = fs.readSync(descriptor, data, got, length - got, offset + got);
        if (more === 0)
          throw new RangeError(`the shared file ends at ${offset + got}; the host has truncated it`);
        got += more;
      }
      return data;
    },
    close() {
      if (!closed) fs.closeSync(descriptor);
      closed = true;
    },
  };
}
