import type { IncomingMessage, ServerResponse } from "node:http";
import { GatewayError } from "../core/errors.ts";
import type { Reply } from "./route.ts";
import type { PageService } from "./services.ts";

/** Sends a file of the live page, or 304 to a browser that has it. @throws GatewayError `notFound` */
export function sendPageFile(
  page: PageService | undefined,
  name: string,
  request: IncomingMessage,
  response: ServerResponse,
): Reply {
  const file = page?.file(name);
  if (!file) throw new GatewayError("notFound", `the live page has no file "${name}"; the page itself is /`);
  const { contentType, etag, body, gzip } = file;
  response.setHeaders(
    new Map([
      ["etag", etag],
      // A new version of the gateway shows at the next load; an unchanged file costs one 304.
      ["cache-control", "no-cache"],
      ["vary", "accept-encoding"],
      ["content-type", contentType],
      ["content-security-policy", pagePolicy],
      ["x-content-type-options", "nosniff"],
      ["referrer-policy", "no-referrer"],
    ]),
  );
  if (request.headers["if-none-match"] === etag) {
    response.writeHead(304).end();
    return { type: "written" };
  }
  const zipped = /\bgzip\b/.test(String(request.headers["accept-encoding"]));
  if (zipped) response.setHeader("content-encoding", "gzip");
  const sent = zipped ? gzip : body;
  response.writeHead(200, { "content-length": sent.byteLength }).end(sent);
  return { type: "written" };
}

/**
 * Nothing inline, nothing foreign. Trusted types hold the page to its word that it never makes markup from strings:
 * names and reasons come from files and clients.
 */
const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
