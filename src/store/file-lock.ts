import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import koffi from "koffi";
import { GatewayError } from "../core/errors.ts";

const exclusive = 2;
const nonBlocking = 4;

/**
 * Holds an advisory lock (flock(2)) on a file until released or until this process ends, however it ends: the kernel
 * gives it back, so a lock left by a killed gateway is never in the way.
 * @throws GatewayError `conflict` that names the process which holds it.
 */
export function lockFile(path: string): { release(): void } {
  const descriptor = openSync(path, constants.O_CREAT | constants.O_RDWR, 0o600);
  const flock = koffi.load(null).func("int flock(int fd, int operation)");
  if (flock(descriptor, exclusive | nonBlocking) !== 0) {
    const holder = readFileSync(path, "utf8").trim();
    closeSync(descriptor);
    throw new GatewayError(
      "conflict",
      `another gateway${holder ? ` (process ${holder})` : ""} uses the store "${path}"; stop it, or give this one another store.path`,
    );
  }
  ftruncateSync(descriptor);
  writeSync(descriptor, `${process.pid}\n`, 0);
  let held = true;
  return {
    release() {
      if (held) closeSync(descriptor);
      held = false;
    },
  };
}
