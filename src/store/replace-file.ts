import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { GatewayError } from "../core/errors.ts";
import { syncDirectory } from "../core/sync-directory.ts";

/** Writes beside the file, syncs, renames, syncs the folder: a reader sees the old or the new text, whole, whatever happens. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const beside = `${path}.new`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(beside, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
    await syncDirectory(dirname(path));
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw new GatewayError(
      "conflict",
      `state cannot be written to "${path}": ${(cause as Error).message}; free disk space or set store.path`,
      { cause },
    );
  }
}
