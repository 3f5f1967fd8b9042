import { mkdir, readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../core/errors.ts";
import { lockFile } from "./file-lock.ts";
import { replaceFile } from "./replace-file.ts";
import type { Store } from "./store.ts";

interface FileStore extends Store {
  keys(): Promise<string[]>;
  /** The document as it stands on disk. */
  readText(key: string): Promise<string | undefined>;
}

/** Every document that is still wanted is tried again before. */
const forgottenMs = 15 * 60_000;

/** The embedded default: a JSON file per key, replaced atomically; one writer at a time. */
export async function openFileStore({ path }: { readonly path: string }): Promise<FileStore> {
  await mkdir(join(path, "state"), { recursive: true, mode: 0o700 });
  const lock = lockFile(join(path, "lock"));
  const turns = new Map<string, Promise<void>>();
  /** Of each document that could not be written when it was last to be. */
  const troubles = new Map<string, { readonly message: string; readonly atMs: number }>();
  const fileOf = (key: string) => join(path, "state", `${key}.json`);

  function readText(key: string): Promise<string | undefined> {
    return readFile(fileOf(key), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
  }

  return {
    readText,
    async keys() {
      const files = await readdir(join(path, "state"), { recursive: true });
      return files.filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -".json".length));
    },
    async read(key) {
      const text = await readText(key);
      if (text === undefined) return undefined;
      try {
        return JSON.parse(text) as unknown;
      } catch (cause) {
        // Written by rename only, so a torn file means a damaged disk: begin anew rather than not at all.
        await rename(fileOf(key), `${fileOf(key)}.damaged`).catch(() => undefined);
        throw new GatewayError("conflict", `state file "${fileOf(key)}" is damaged and was set aside`, {
          cause,
        });
      }
    },
    write(key, document) {
      const mine = (turns.get(key) ?? Promise.resolve()).then(() =>
        replaceFile(fileOf(key), JSON.stringify(document)),
      );
      turns.set(
        key,
        mine.then(
          () => {
            troubles.delete(key);
            // Those that nobody has tried again since belong to models and engines that are gone.
            for (const [other, { atMs }] of troubles)
              if (Date.now() - atMs > forgottenMs) troubles.delete(other);
          },
          ({ message }: Error) => void troubles.set(key, { message, atMs: Date.now() }),
        ),
      );
      return mine;
    },
    deliver: () => ({ wake() {} }),
    onCommand: () => () => Promise.resolve(),
    get trouble() {
      const [first] = troubles.values();
      const others = troubles.size - 1;
      return others > 0
        ? `${first?.message}; also ${others} other ${others === 1 ? "document" : "documents"}`
        : first?.message;
    },
    async close() {
      await Promise.all(turns.values());
      lock.release();
    },
  };
}
