import { open, writeFile } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { unzipSync } from "fflate";
import { GatewayError } from "../core/errors.ts";
import { createSlices, type Slices } from "../core/slices.ts";
import { npyHeader, type NpyArray, parseNpy } from "./npy.ts";

/** The arrays of an .npz file by name; an array is read when it is asked for, so that one odd one costs nothing. */
export interface Npz {
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @throws GatewayError `notFound` without such an array, `invalid` when it is not a plain numeric one. */
  get(name: string): NpyArray;
}

/** What an archive may unpack to; the arrays are held in memory whole. */
const defaultMaxBytes = 2 ** 31;

/**
 * Reads a file written by numpy.savez or numpy.savez_compressed, Zip64 included.
 *
 * @throws GatewayError `notFound`, `invalid` when it is not one, `tooLarge` when it unpacks to more than `maxBytes`.
 */
export async function readNpz(path: string, { maxBytes = defaultMaxBytes } = {}): Promise<Npz> {
  return parseNpz(await readWhole(path, maxBytes), path, { maxBytes });
}

/** The same for bytes that have been read already; `name` stands for them in messages. */
export function parseNpz(bytes: Uint8Array, name: string, { maxBytes = defaultMaxBytes } = {}): Npz {
  let total = 0;
  const claimed = new Map<string, number>();
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(bytes, {
      filter: (file) => {
        total += file.originalSize;
        // Before anything is allocated for it: sizes come from the archive and may lie.
        if (!(total <= maxBytes)) {
          throw new GatewayError("tooLarge", `${name}: unpacks to more than ${maxBytes} bytes; split it`);
        }
        claimed.set(file.name, file.originalSize);
        return file.name.endsWith(".npy");
      },
    });
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw new GatewayError("invalid", `${name}: is not a readable .npz archive; write it with numpy.savez`, {
      cause: error,
    });
  }
  const members = new Map(
    Object.entries(files).map(([file, content]) => [file.slice(0, -".npy".length), content]),
  );
  return {
    names: [...members.keys()],
    has: (array) => members.has(array),
    get: (array) => {
      const content = members.get(array);
      if (content === undefined) {
        const held = members.size === 0 ? "no arrays" : [...members.keys()].join(", ");
        throw new GatewayError("notFound", `${name}: has no array "${array}"; it holds ${held}`);
      }
      if (content.length !== claimed.get(`${array}.npy`)) {
        throw new GatewayError("invalid", `${name}: array "${array}" is damaged; write the file again`);
      }
      return parseNpy(content, `${name}: array "${array}"`);
    },
  };
}

/**
 * Writes arrays so that numpy.load reads them; stored, not packed. The event loop turns meanwhile, and the arrays are
 * neither copied nor held in one piece: live requests must not wait for a recording.
 *
 * @throws GatewayError `tooLarge` beyond the 4 GiB of a plain archive.
 */
export async function writeNpz(path: string, arrays: ReadonlyMap<string, NpyArray>): Promise<void> {
  const slices = createSlices();
  const pieces: Uint8Array[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, array] of arrays) {
    const file = Buffer.from(`${name}.npy`);
    const content = [npyHeader(array), array.data];
    const size = content.reduce((sum, { byteLength }) => sum + byteLength, 0);
    if (offset + size > mostArchiveBytes)
      throw new GatewayError("tooLarge", `${path}: more than ${mostArchiveBytes} bytes; split it`);
    const entry = zipEntry(file, size, await checksum(content, slices));
    pieces.push(entry.local, file, ...content);
    entry.central.writeUInt32LE(offset, 42);
    directory.push(entry.central, file);
    offset += entry.local.length + file.length + size;
  }
  const directoryBytes = directory.reduce((sum, { length }) => sum + length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(arrays.size, 8);
  end.writeUInt16LE(arrays.size, 10);
  end.writeUInt32LE(directoryBytes, 12);
  end.writeUInt32LE(offset, 16);
  await writeFile(path, [...pieces, ...directory, end]);
}

const mostArchiveBytes = 2 ** 32 - 2 ** 24;
/** 0.1 ms of work. */
const checksumBytes = 2 ** 17;

async function checksum(content: readonly Uint8Array[], slices: Slices): Promise<number> {
  let sum = 0;
  for (const bytes of content)
    for (let at = 0; at < bytes.byteLength; at += checksumBytes) {
      if (slices.due()) await slices.pause();
      sum = crc32(bytes.subarray(at, at + checksumBytes), sum);
    }
  return sum;
}

/** Headers of a stored member, before it and in the directory (APPNOTE 4.3.7, 4.3.12); its date is 1980-01-01. */
function zipEntry(file: Buffer, size: number, sum: number): { local: Buffer; central: Buffer } {
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(20, 4);
  local.writeUInt16LE(utf8Names, 6);
  local.writeUInt16LE(0x21, 12);
  local.writeUInt32LE(sum, 14);
  local.writeUInt32LE(size, 18);
  local.writeUInt32LE(size, 22);
  local.writeUInt16LE(file.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(20, 4);
  local.copy(central, 6, 4, 28);
  return { local, central };
}

const utf8Names = 0x800;

async function readWhole(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size > maxBytes)
        throw new GatewayError("tooLarge", `${path}: ${size} bytes are more than ${maxBytes}; split it`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const why = missing ? "there is no such file" : `cannot be read: ${(error as Error).message}`;
    throw new GatewayError(missing ? "notFound" : "invalid", `${path}: ${why}`, { cause: error });
  }
}
