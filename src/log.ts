import pino from "pino";
import type { Log } from "./core/log.ts";

/**
 * The gateway's log: one JSON object a line on standard error (or the given descriptor), written without waiting; what is
 * still in memory when the process ends, by SIGTERM too, is written then. Fields that could hold a secret are blanked,
 * whoever logs them.
 */
export function createLog({ level, fd = 2 }: { readonly level: string; readonly fd?: number }): Log {
  return pino(
    { level, redact: { paths: secrets, censor: "[secret]" } },
    pino.destination({ dest: fd, sync: false }),
  );
}

const names = ["authorization", "cookie", "password", "secret"];
const secrets = names.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
