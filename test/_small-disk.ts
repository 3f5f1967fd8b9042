import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import type { TestContext } from "vitest";

/** Only root may mount. */
export const mayMount = process.getuid?.() === 0 && existsSync("/usr/bin/mount");

/** Mounts a disk of so many kB on a new folder while `work` runs; where that cannot be done the test is skipped with the reason. */
export async function onSmallDisk(
  context: TestContext,
  { folder, kB }: { readonly folder: string; readonly kB: number },
  work: () => Promise<void>,
): Promise<void> {
  await mkdir(folder);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kB}k`, "tmpfs", folder], { stdio: "pipe" });
  } catch (error) {
    context.skip(`no small disk can be mounted here: ${String((error as { stderr?: Buffer }).stderr)}`);
  }
  try {
    await work();
  } finally {
    execFileSync("umount", ["-l", folder]);
  }
}
