import { readFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer, STATUS_CODES } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { getRequestListener } from "@hono/node-server";
import { type AddressInfo, Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate } from "node:timers/promises";
import type { Clock } from "../core/clock.ts";
import { systemClock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { createAccess } from "./access.ts";
import { createApp } from "./app.ts";
import { errorReply } from "./errors.ts";
import { createInferHandler, matchInfer } from "./infer.ts";
import type { Services } from "./services.ts";

/** The part of crosscheck.yaml that matters here. */
export interface ListenConfig {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly access: { readonly keysFile?: string | undefined };
  /** Paths of PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  readonly limits: { readonly bodyBytes: number };
}

export interface ListenOptions {
  readonly config: ListenConfig;
  /** Crosscheck's, for /v2 and OpenAPI. */
  readonly version: string;
  readonly log: Log;
  readonly clock?: Clock;
}

export interface HttpServer {
  /** `http://127.0.0.1:8000`, with the port that was taken. */
  readonly url: string;
  readonly port: number;
  /** Stops accepting, answers what is in flight, then closes; after `drainMs` it cuts what is left. */
  close(options?: { drainMs?: number }): Promise<void>;
}

/** The HTTP face, listening. @throws GatewayError when the address cannot be had. */
export async function listen(services: Services, options: ListenOptions): Promise<HttpServer> {
  const { config, version, log, clock = systemClock } = options;
  const { host, port, tls } = config;
  const { keysFile } = config.access;
  const { bodyBytes } = config.limits;
  const access = createAccess({ keysFile, host, tls: tls !== undefined, clock, log });
  const { app } = createApp({ services, access, version, log });
  const inference = services.inference;
  const infer = createInferHandler({ inference, access, bodyBytes, clock, log });
  const others = getRequestListener(app.fetch, { overrideGlobalObjects: false, errorHandler: listenerError });

  let closing: Promise<void> | undefined;
  const eventStreams = new Set<ServerResponse>();

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    if (closing) response.setHeader("connection", "close");
    const target = request.method === "POST" ? matchInfer(request.url ?? "") : undefined;
    if (target) {
      void infer(request, response, target.model, target.version);
      return;
    }
    if (request.url?.startsWith("/v1/events")) {
      eventStreams.add(response);
      response.once("close", () => eventStreams.delete(response));
    }
    void others(request, response);
  }

  const server = createNodeServer(tls);
  server.requestTimeout = requestTimeoutMs;
  server.keepAliveTimeout = keepAliveMs;
  server.on("request", onRequest);
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    // A body that will be refused is not asked for.
    if (!(Number(request.headers["content-length"]) > bodyBytes)) response.writeContinue();
    onRequest(request, response);
  });
  server.on("checkExpectation", (_request, response: ServerResponse) => {
    const body = JSON.stringify({ error: "only Expect: 100-continue is understood" });
    response.writeHead(417, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
  });
  server.on("clientError", answerBrokenRequest);
  server.on("connect", (_request, socket: Duplex) =>
    endRaw(socket, 405, "CONNECT is not offered; this is no proxy"),
  );
  await started(server, host, port);

  const address = server.address() as AddressInfo;
  const shownHost = address.family === "IPv6" ? `[${address.address}]` : address.address;

  async function close(drainMs: number): Promise<void> {
    await takeWaiting(server);
    const closed = new Promise<void>((resolve) => server.once("close", resolve));
    // net.Server's close: http.Server's would cut idle keep-alive connections whose next request is on its way.
    NetServer.prototype.close.call(server);
    for (const stream of eventStreams) stream.end();
    const sweep = setInterval(() => server.closeIdleConnections(), lastRequestsMs);
    const cut = setTimeout(() => server.closeAllConnections(), drainMs);
    await closed;
    clearInterval(sweep);
    clearTimeout(cut);
  }

  return {
    url: `${tls ? "https" : "http"}://${shownHost}:${address.port}`,
    port: address.port,
    close: ({ drainMs = 10_000 } = {}) => (closing ??= close(drainMs)),
  };
}

/**
 * Connections that the kernel has made already, and that closing would reset with the requests they carry. The event
 * loop takes one a turn, so after two turns without any there is none.
 */
async function takeWaiting(server: Server): Promise<void> {
  let emptyTurns = 0;
  const taken = (): void => void (emptyTurns = 0);
  server.on("connection", taken);
  const until = performance.now() + lastRequestsMs;
  for (; emptyTurns < 2 && performance.now() < until; emptyTurns += 1) await setImmediate();
  server.off("connection", taken);
}

/** A body must have arrived by then. */
const requestTimeoutMs = 120_000;
/** Longer than load balancers keep theirs, so that none sends into a connection just closed. */
const keepAliveMs = 75_000;
/** On closing: how long an idle connection may still send one more request. */
const lastRequestsMs = 500;
/** A body that comes with its head is taken as it lies; above node's 16 KiB every one would stop and start its socket. */
const readAheadBytes = 256 * 1024;

function createNodeServer(tls: ListenConfig["tls"]): Server {
  // Node would refuse a request without Host with an empty reply; ours says what is wrong.
  if (!tls) return createServer({ requireHostHeader: false, highWaterMark: readAheadBytes });
  const pem = { cert: readPem(tls.cert, "tls.cert"), key: readPem(tls.key, "tls.key") };
  try {
    return createTlsServer({ requireHostHeader: false, highWaterMark: readAheadBytes, ...pem });
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unknown reason";
    throw new GatewayError(
      "invalid",
      `tls: ${tls.cert} and ${tls.key} are not a PEM certificate and its key: ${reason}`,
      { cause: error },
    );
  }
}

function readPem(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unknown reason";
    throw new GatewayError("invalid", `${setting}: ${path} cannot be read: ${reason}`, { cause: error });
  }
}

function started(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const code = "code" in error ? error.code : undefined;
      const remedy =
        code === "EADDRINUSE"
          ? "another program listens there; choose another --port"
          : code === "EACCES"
            ? "ports below 1024 need privileges; choose another --port"
            : "check --host and --port";
      reject(
        new GatewayError("conflict", `cannot listen on ${host}:${port}: ${error.message}; ${remedy}`, {
          cause: error,
        }),
      );
    });
    server.listen(port, host, resolve);
  });
}

/** What @hono/node-server refuses before the app sees it: a request without Host, a URL that does not parse. */
function listenerError(thrown: unknown): Response {
  const reason = thrown instanceof Error ? thrown.message : "bad request";
  const { status, headers, body } = errorReply(
    new GatewayError("invalid", `the request is not valid: ${reason}`),
  );
  return new Response(body, { status, headers });
}

/** Requests that node's parser refuses never reach the app; their errors are JSON all the same. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return endRaw(socket, 431, "the request's headers are too large; 16 KiB is the limit");
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return endRaw(socket, 408, "the request did not arrive in time; send it faster, or smaller");
    case "ECONNRESET":
      return void socket.destroy();
    default:
      return endRaw(socket, 400, `the request is not valid HTTP/1.1: ${error.message}`);
  }
}

function endRaw(socket: Duplex, status: number, message: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({ error: message });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
