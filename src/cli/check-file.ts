import { stat } from "node:fs/promises";
import { GatewayError } from "../core/errors.ts";

/** Told before anything is set up or loaded. @throws GatewayError `notFound`. */
export async function checkFile(path: string, flag: string): Promise<void> {
  const file = await stat(path).catch(() => undefined);
  if (file?.isFile() !== true) throw new GatewayError("notFound", `${flag} ${path}: there is no such file`);
}
