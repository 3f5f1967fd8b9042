import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of Crosscheck itself (package.json, engines, dist), whether this runs from source or from dist. */
export function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "package.json"))) {
    const parent = dirname(directory);
    if (parent === directory)
      throw new Error("Crosscheck's package.json is missing; install Crosscheck again");
    directory = parent;
  }
  return directory;
}
