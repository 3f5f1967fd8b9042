import type { ServerResponse } from "node:http";
import { GatewayError } from "../core/errors.ts";

/** Every error that leaves the gateway has this body and these headers, whichever layer it comes from. */
export function errorReply(error: GatewayError): {
  status: number;
  headers: Record<string, string>;
  body: string;
} {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (error.retryAfterSeconds !== undefined)
    headers["retry-after"] = String(Math.ceil(error.retryAfterSeconds));
  else if (error.code === "busy") headers["retry-after"] = "1";
  if (error.engine !== undefined) headers["crosscheck-engine"] = error.engine;
  if (error.code === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="crosscheck"';
  return { status: error.status, headers, body: JSON.stringify({ error: error.message }) };
}

/** Sends `error` on a response not yet begun; on one begun the connection is all that can be ended. */
export function sendError(response: ServerResponse, error: GatewayError): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  letGo(response);
  sendBody(response, errorReply(error));
}

/** Straight to node's response: a web Response would be taken apart again, for a third of a millisecond. */
export function sendBody(
  response: ServerResponse,
  {
    status,
    headers,
    body,
  }: { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string },
): void {
  response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

/**
 * A refused body is not waited for. Cutting the connection at once would take the reply along (the kernel resets a
 * connection that is closed with data unread), so what still comes is dropped for a moment first.
 */
function letGo(response: ServerResponse): void {
  const request = response.req;
  if (request.complete) return;
  response.once("finish", () => {
    request.resume();
    const cut = setTimeout(() => request.socket.destroy(), lingerMs);
    cut.unref();
    request.once("close", () => clearTimeout(cut));
  });
}

const lingerMs = 1000;
