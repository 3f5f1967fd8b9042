import { createHash } from "node:crypto";
import fs from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { GatewayError } from "../core/errors.ts";

/**
 * Opens an artifact and checks its SHA-256 on the very descriptor that the host will load from, so that nothing can be
 * put in its place between. The caller closes it.
 * @throws GatewayError `conflict` when it is absent, a symbolic link, or not what the manifest says
 */
export async function openArtifact(path: string, sha256: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ELOOP" ? "is a symbolic link" : "cannot be opened";
    throw new GatewayError("conflict", `artifact "${path}" ${why}; compile the engine again`, { cause });
  }
  try {
    const digest = await digestOf(file);
    if (digest !== sha256) {
      throw new GatewayError(
        "conflict",
        `artifact "${path}" has SHA-256 ${digest}, its manifest says ${sha256}; it was changed or damaged, compile the engine again`,
      );
    }
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function digestOf(file: FileHandle): Promise<string> {
  const hash = createHash("sha256");
  const chunk = Buffer.allocUnsafe(1 << 20);
  // By position: the host inherits this descriptor, and with it the file offset.
  for (let position = 0; ;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(chunk.subarray(0, bytesRead));
    position += bytesRead;
  }
}
