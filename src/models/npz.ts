import { open, writeFile } from "node:fs/promises";
import { unzipSync, zipSync } from "fflate";
import { GatewayError } from "../core/errors.ts";
import { formatNpy, type NpyArray, parseNpy } from "./npy.ts";

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

/** Writes arrays so that numpy.load reads them; stored, not packed, as recording must not hold up the event loop. */
export async function writeNpz(path: string, arrays: ReadonlyMap<string, NpyArray>): Promise<void> {
  const files = [...arrays].map(([name, array]) => [`${name}.npy`, formatNpy(array)] as const);
  await writeFile(path, zipSync(Object.fromEntries(files), { level: 0 }));
}

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
