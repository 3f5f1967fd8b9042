import { realpath } from "node:fs/promises";
import { isAbsolute, join, relative, sep } from "node:path";
import { GatewayError } from "../core/errors.ts";

/**
 * The real path of `inner` inside `directory`, symbolic links followed.
 * @throws GatewayError `conflict` when it does not exist or leads outside, be it by `..`, an absolute path or a link.
 */
export async function containedPath(directory: string, inner: string): Promise<string> {
  const root = await realpath(directory);
  let target: string;
  try {
    target = await realpath(join(root, inner));
  } catch (cause) {
    throw new GatewayError("conflict", `file "${inner}" does not exist in "${directory}"`, { cause });
  }
  const path = relative(root, target);
  if (path === ".." || path.startsWith(`..${sep}`) || isAbsolute(path))
    throw new GatewayError(
      "conflict",
      `"${inner}" leads out of "${directory}"; keep files inside their folder`,
    );
  return target;
}
