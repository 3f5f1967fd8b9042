import { randomBytes } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { sha256 } from "./keys-file.ts";

/** Logins of the live page: a random token in a cookie stands for a key, until it expires or the key is removed. */
export interface Sessions {
  /** A new token for the key with this digest. */
  open(keyDigest: Buffer): string;
  /** The digest of the key that the token stands for. */
  find(token: string): Buffer | undefined;
  close(token: string): void;
}

export const sessionSeconds = 12 * 3600;
/** Oldest first out: logins cannot fill the memory. */
const maxSessions = 1000;

export function createSessions(clock: Clock): Sessions {
  const open = new Map<string, { keyDigest: Buffer; until: number }>();
  const idOf = (token: string): string => sha256(token).toString("base64");
  return {
    open(keyDigest) {
      const token = randomBytes(32).toString("base64url");
      const [oldest] = open.keys();
      if (open.size >= maxSessions && oldest !== undefined) open.delete(oldest);
      open.set(idOf(token), { keyDigest, until: clock.seconds() + sessionSeconds });
      return token;
    },
    find(token) {
      const session = open.get(idOf(token));
      if (!session) return undefined;
      if (clock.seconds() < session.until) return session.keyDigest;
      open.delete(idOf(token));
      return undefined;
    },
    close(token) {
      open.delete(idOf(token));
    },
  };
}
