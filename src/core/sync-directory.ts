import { open } from "node:fs/promises";

/** A new or renamed file survives a power cut only when its folder is on disk too. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
