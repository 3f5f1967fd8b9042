import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { GatewayError } from "../core/errors.ts";
import { replaceFile } from "./replace-file.ts";

/** Where one device's keys lie in a Redis that many share. */
export interface RedisSpace {
  /** Prefix of the keys. Names differ by a random id: devices made from one image have host name and paths in common. */
  readonly space: string;
  /** Who holds the lock: should the id have been copied too, two devices are never of one boot. */
  readonly owner: string;
  /** Id of the last command taken from Redis. */
  readonly cursorFile: string;
}

/** The space of the gateway whose local store is at `path`; its id is made at the first start, under the local lock. */
export async function openSpace(path: string): Promise<RedisSpace> {
  const cursorFile = join(path, "last-command");
  let id = await readId(path);
  if (id === undefined) {
    id = randomBytes(8).toString("hex");
    // Nobody can have given a command to an id that is new: every one there will be is to be taken.
    await replaceFile(cursorFile, "0-0");
    await replaceFile(join(path, "id"), id);
  }
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return { space: spaceOf(id), owner: `${hostname()}:${id}:${boot.trim()}`, cursorFile };
}

/** The same for those who only look; undefined where no gateway has used Redis yet. */
export async function findSpace(path: string): Promise<string | undefined> {
  const id = await readId(path);
  return id === undefined ? undefined : spaceOf(id);
}

function spaceOf(id: string): string {
  return `crosscheck:${hostname()}:${id}`;
}

async function readId(path: string): Promise<string | undefined> {
  const file = join(path, "id");
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined || /^[A-Za-z0-9._-]{1,64}\s*$/.test(text)) return text?.trim();
  throw new GatewayError("conflict", `"${file}" holds no id of a device; remove it to have a new one made`);
}
