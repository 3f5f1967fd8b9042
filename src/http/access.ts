import type { IncomingHttpHeaders } from "node:http";
import { BlockList, isIP } from "node:net";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { ApiKey, KeyRing, Role } from "./keys-file.ts";
import { createKeyRing, roles } from "./keys-file.ts";
import { createSessions, sessionSeconds } from "./sessions.ts";

/** Who may do what. Without a keys file everyone may do everything, which is why that is for loopback. */
export interface Access {
  /**
   * The caller, once it holds `role`. For `control` the request must also come from the gateway's own page or from no
   * page at all, and, on loopback without keys, name a loopback host (a rebound DNS name does not).
   * @throws GatewayError `unauthenticated`, `forbidden`.
   */
  authorise(headers: IncomingHttpHeaders, role: Role): Caller;
  /** Trades a key for a Set-Cookie value. @throws GatewayError `unauthenticated` */
  login(headers: IncomingHttpHeaders, secret: string): { caller: Caller; cookie: string | undefined };
  /** The Set-Cookie value that ends the session. */
  logout(headers: IncomingHttpHeaders): string;
}

export interface Caller {
  readonly name: string;
  readonly roles: readonly Role[];
}

export interface AccessOptions {
  readonly keysFile: string | undefined;
  /** The address that is listened on. */
  readonly host: string;
  readonly tls: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export function createAccess(options: AccessOptions): Access {
  const { keysFile, host, tls, clock, log } = options;
  const keys: KeyRing | undefined =
    keysFile === undefined ? undefined : createKeyRing({ path: keysFile, clock, log });
  const sessions = createSessions(clock);
  const wantsLoopbackHost = keys === undefined && isLoopback(host);
  const cookieFlags = `Path=/; HttpOnly; SameSite=Strict${tls ? "; Secure" : ""}`;

  function keyOf(headers: IncomingHttpHeaders, ring: KeyRing): ApiKey | undefined {
    const { authorization } = headers;
    if (authorization !== undefined) {
      const [, secret] = /^Bearer +([^\s]+)$/i.exec(authorization) ?? [];
      return secret === undefined ? undefined : ring.find(secret);
    }
    const token = cookieOf(headers);
    const digest = token === undefined ? undefined : sessions.find(token);
    return digest && ring.withDigest(digest);
  }

  function guardBrowser(headers: IncomingHttpHeaders): void {
    const { origin, host: named } = headers;
    // Browsers send Origin with every cross-origin request that could change something. The scheme may differ:
    // a proxy in front may end TLS.
    const hostOfOrigin = origin?.replace(/^https?:\/\//i, "").toLowerCase();
    if (hostOfOrigin !== undefined && hostOfOrigin !== named?.toLowerCase()) {
      throw new GatewayError(
        "forbidden",
        `Origin ${origin} is foreign; only pages from ${named ?? "the gateway itself"} may control the gateway`,
      );
    }
    if (wantsLoopbackHost && !isLoopback(hostnameOf(named ?? ""))) {
      throw new GatewayError(
        "forbidden",
        `Host ${named ?? "(none)"} is not loopback; use 127.0.0.1 or localhost, or set access.keysFile`,
      );
    }
  }

  return {
    authorise(headers, role) {
      if (role === "control") guardBrowser(headers);
      if (!keys) return everyone;
      const key = keyOf(headers, keys);
      if (!key) throw refusedKey(headers);
      if (!key.roles.includes(role)) {
        throw new GatewayError(
          "forbidden",
          `key "${key.name}" has roles ${key.roles.join(", ")}; this needs ${role}`,
        );
      }
      return key;
    },
    login(headers, secret) {
      guardBrowser(headers);
      if (!keys) return { caller: everyone, cookie: undefined };
      const key = keys.find(secret);
      if (!key) throw new GatewayError("unauthenticated", "the key is not in the gateway's keys file");
      const token = sessions.open(key.digest);
      return { caller: key, cookie: `${cookieName}=${token}; Max-Age=${sessionSeconds}; ${cookieFlags}` };
    },
    logout(headers) {
      guardBrowser(headers);
      const token = cookieOf(headers);
      if (token !== undefined) sessions.close(token);
      return `${cookieName}=; Max-Age=0; ${cookieFlags}`;
    },
  };
}

/**
 * To be asked before listening: an address beyond loopback needs keys, or the user's word that it may be open.
 * @throws GatewayError `invalid`
 */
export function checkExposure(settings: { host: string; keysFile: string | undefined; open: boolean }): void {
  if (settings.keysFile !== undefined || settings.open || isLoopback(settings.host)) return;
  throw new GatewayError(
    "invalid",
    `host ${settings.host} can be reached from other machines, and there are no API keys; ` +
      "set access.keysFile, or access.open: true if everyone there may control the gateway",
  );
}

export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  if (bare === "localhost" || bare.endsWith(".localhost")) return true;
  const family = isIP(bare);
  return family !== 0 && loopback.check(bare, family === 6 ? "ipv6" : "ipv4");
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

const everyone: Caller = { name: "anonymous", roles };
const cookieName = "crosscheck_session";

function refusedKey(headers: IncomingHttpHeaders): GatewayError {
  if (headers.authorization === undefined && cookieOf(headers) === undefined) {
    return new GatewayError("unauthenticated", "a key is needed; send Authorization: Bearer KEY");
  }
  return new GatewayError(
    "unauthenticated",
    "the key or session is not valid (any more); send Authorization: Bearer KEY",
  );
}

/** `[::1]:8000` and `localhost:8000` without the port. */
function hostnameOf(host: string): string {
  return host.replace(/:\d+$/, "");
}

function cookieOf(headers: IncomingHttpHeaders): string | undefined {
  for (const part of headers.cookie?.split(";") ?? []) {
    const [name, value] = part.trim().split("=");
    if (name === cookieName && value) return value;
  }
  return undefined;
}
