import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { parseYaml } from "../core/yaml-file.ts";

export const roles = ["infer", "control", "metrics"] as const;
export type Role = (typeof roles)[number];

export interface ApiKey {
  readonly name: string;
  readonly roles: readonly Role[];
  /** SHA-256 of the secret. */
  readonly digest: Buffer;
}

/** The keys in force. */
export interface KeyRing {
  /** The key with this secret; every key is compared, each in constant time. */
  find(secret: string): ApiKey | undefined;
  /** The key with this digest, while it is still in the file. */
  withDigest(digest: Buffer): ApiKey | undefined;
}

/**
 * Keys from a YAML or JSON file, read again when it changes (looked at once a second at most, when a request comes).
 * A file that has gone or is broken later keeps the last good keys and is logged.
 * @throws GatewayError when the file cannot be read at first.
 */
export function createKeyRing(options: { path: string; clock: Clock; log: Log }): KeyRing {
  const { path, clock, log } = options;
  let stamp = stampOf(path);
  let keys = readKeys(path);
  let lookedAt = clock.seconds();

  function current(): readonly ApiKey[] {
    const now = clock.seconds();
    if (now - lookedAt < lookEverySeconds) return keys;
    lookedAt = now;
    const seen = stampOf(path);
    if (seen === stamp) return keys;
    stamp = seen;
    try {
      keys = readKeys(path);
      log.info({ path, keys: keys.map(({ name }) => name) }, "keys file read again");
    } catch (error) {
      log.error(
        { path, reason: GatewayError.from(error).message },
        "keys file is broken; the last good keys hold",
      );
    }
    return keys;
  }

  function withDigest(digest: Buffer): ApiKey | undefined {
    let found: ApiKey | undefined;
    for (const key of current()) if (timingSafeEqual(key.digest, digest)) found = key;
    return found;
  }

  return { withDigest, find: (secret) => withDigest(sha256(secret)) };
}

export function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

const lookEverySeconds = 1;

const keysSchema = z.strictObject({
  keys: z
    .array(
      z
        .strictObject({
          name: z.string().min(1),
          key: z
            .string()
            .min(16, "must have at least 16 characters; make one with: openssl rand -hex 32")
            .optional(),
          sha256: z
            .string()
            .regex(/^[0-9a-f]{64}$/, "must be a SHA-256 digest in lower-case hexadecimal")
            .optional(),
          roles: z.array(z.enum(roles)).min(1),
        })
        .refine(
          (entry) => (entry.key === undefined) !== (entry.sha256 === undefined),
          "must have either key or sha256",
        ),
    )
    .min(1),
});

function readKeys(path: string): readonly ApiKey[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new GatewayError(
      "invalid",
      `keys file ${path} cannot be read: ${error instanceof Error ? error.message : "unknown reason"}`,
      { cause: error },
    );
  }
  return parseYaml(text, keysSchema, path).keys.map(({ name, key, sha256: digest, roles }) => ({
    name,
    roles,
    digest: digest === undefined ? sha256(key ?? "") : Buffer.from(digest, "hex"),
  }));
}

/** Changes with every edit and with every replacement by rename. */
function stampOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}` : "absent";
}
