import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What the tests and the programs that they start leave among temporary files lies in one folder, which goes with the run. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "cc-"));
  // Some of them run as another user.
  chmodSync(folder, 0o755);
  process.env["TMPDIR"] = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
