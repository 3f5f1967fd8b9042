import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Why the fake library cannot be built here, or undefined. */
export const noCompiler: string | undefined = (() => {
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    return undefined;
  } catch {
    return "no C compiler (cc) on this machine";
  }
})();

/** Compiles fake-nvml.c; `old` leaves out what drivers before 535 do not have. */
export function buildFakeNvml({ old = false } = {}): string {
  const library = join(mkdtempSync(join(tmpdir(), "fake-nvml-")), "libnvidia-ml.so.1");
  const source = fileURLToPath(new URL("fake-nvml.c", import.meta.url));
  execFileSync("cc", ["-shared", "-fPIC", ...(old ? ["-DOLD"] : []), "-o", library, source]);
  return library;
}
