import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Cancellation } from "../core/cancellation.ts";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { modelVersion } from "../protocol/bodies.ts";
import { bindInputs } from "../protocol/v2-inputs.ts";
import { parseInferRequest } from "../protocol/v2-request.ts";
import type { EncodedResponse } from "../protocol/v2-response.ts";
import { encodeInferResponse, resolveOutputs } from "../protocol/v2-response.ts";
import type { Access } from "./access.ts";
import { readBody } from "./body.ts";
import { sendError } from "./errors.ts";
import { createRejections } from "./rejections.ts";
import type { InferenceReply, InferenceService, ModelSignature } from "./services.ts";

export interface InferHandlerOptions {
  readonly inference: InferenceService;
  readonly access: Access;
  readonly bodyBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Model and version of an infer path; undefined for any other. */
export function matchInfer(url: string): { model: string; version: string | undefined } | undefined {
  const match = inferPath.exec(url);
  return match?.[1] === undefined ? undefined : { model: match[1], version: match[2] };
}

const inferPath = /^\/v2\/models\/([A-Za-z0-9._-]{1,64})(?:\/versions\/([^/?]*))?\/infer(?:\?|$)/;

/**
 * POST .../infer, the hot path, straight on node's request and response: read, decode, infer, encode, write.
 * Never rejects; every failure is the reply.
 */
export function createInferHandler(
  options: InferHandlerOptions,
): (request: IncomingMessage, response: ServerResponse, model: string, version?: string) => Promise<void> {
  const { inference, access, bodyBytes, clock, log } = options;
  const limit = { bytes: bodyBytes, remedy: "send less, or raise limits.bodyBytes in crosscheck.yaml" };

  const rejections = createRejections();

  return async (request, response, model, version) => {
    const receivedSeconds = clock.seconds();
    const trace = inference.trace?.(request.headers, model, receivedSeconds);
    if (trace) response.setHeader("traceparent", trace.traceParent);
    const cancellation = new Cancellation();
    let gone = false;
    response.once("close", () => {
      gone = !response.writableFinished;
      if (gone) cancellation.cancel(new GatewayError("unavailable", "the client closed the connection"));
    });
    let id: string | undefined;
    let reply: InferenceReply | undefined;
    let failedEngine: string | undefined;
    let receiptSeconds: number | undefined;
    let decodeSeconds = 0;
    let encodeSeconds = 0;
    try {
      access.authorise(request.headers, "infer");
      if (version !== undefined && version !== modelVersion) {
        throw new GatewayError(
          "notFound",
          `model "${model}" has no version "${version}"; the only one is ${modelVersion}`,
        );
      }
      // A cold start begins while the body is still coming.
      const resolving = inference.resolve(model);
      if (resolving instanceof Promise) resolving.catch(() => {});
      const body = await readBody(request, limit);

      const decodeFrom = clock.seconds();
      const envelope = parseInferRequest(body, headerLengthOf(request));
      if (envelope.pinnedEngine !== undefined) access.authorise(request.headers, "control");
      const timeoutMs =
        envelope.timeoutMicroseconds === undefined
          ? undefined
          : Math.min(envelope.timeoutMicroseconds / 1000, longestTimerMs);
      let signature: ModelSignature;
      let waitedSeconds = 0;
      if (resolving instanceof Promise) {
        const waitFrom = clock.seconds();
        signature = await within(resolving, timeoutMs, receivedSeconds, clock);
        waitedSeconds = clock.seconds() - waitFrom;
      } else {
        signature = resolving;
      }
      const inputs = bindInputs(envelope, signature.inputs);
      const wanted = resolveOutputs(envelope, signature.outputs);
      id = envelope.id ?? headerId(request) ?? randomUUID();
      const decodedAt = clock.seconds();
      decodeSeconds = decodedAt - decodeFrom - waitedSeconds;
      receiptSeconds = decodedAt - receivedSeconds;

      reply = await inference.infer(model, {
        id,
        inputs,
        outputs: envelope.outputs && wanted.map(({ name }) => name),
        pinnedEngine: envelope.pinnedEngine,
        timeoutMs,
        cancellation,
        receivedSeconds,
        traceParent: trace?.traceParent,
      });

      const encodeFrom = clock.seconds();
      const { engine, outputs } = reply;
      const { labels } = signature;
      writeReply(response, encodeInferResponse({ id, model, engine, outputs, wanted, labels }), engine);
      encodeSeconds = clock.seconds() - encodeFrom;
    } catch (thrown) {
      const error = GatewayError.from(thrown);
      failedEngine = error.engine;
      if (error.code === "internal")
        log.error({ model, id, err: error.cause ?? error }, "infer request failed");
      if (error.code === "busy") {
        id ??= headerId(request);
        // What still comes of the body is dropped, so that the connection serves the next request.
        request.resume();
        await rejections.turn();
      }
      if (!gone) sendError(response, error);
    }
    try {
      inference.onAnswered?.({
        id,
        model,
        engine: reply?.engine ?? failedEngine,
        status: gone ? clientGone : response.statusCode,
        answeredAtMs: clock.now().getTime(),
        seconds: clock.seconds() - receivedSeconds,
        queueSeconds: reply?.queueSeconds ?? 0,
        engineSeconds: reply?.engineSeconds ?? 0,
        receiptSeconds,
        decodeSeconds,
        encodeSeconds,
        trace,
      });
    } catch (error) {
      log.error({ model, err: error }, "counting an answered request failed");
    }
  };
}

/** Beyond it node's timers fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/** nginx's code for a client that closed the connection before the reply; it is never on the wire. */
const clientGone = 499;

function headerLengthOf(request: IncomingMessage): number | undefined {
  const text = request.headers["inference-header-content-length"];
  if (text === undefined) return undefined;
  if (typeof text !== "string" || !/^\d{1,15}$/.test(text)) {
    throw new GatewayError(
      "invalid",
      `Inference-Header-Content-Length is ${JSON.stringify(text)}; it must be the length of the JSON part in bytes`,
    );
  }
  return Number(text);
}

function headerId(request: IncomingMessage): string | undefined {
  const id = request.headers["x-request-id"];
  return typeof id === "string" && id.length > 0 && id.length <= 256 ? id : undefined;
}

/** Small tensors are sent with the JSON in one piece, larger ones from where they lie. */
function writeReply(response: ServerResponse, encoded: EncodedResponse, engine: string): void {
  const { headerLength, totalBytes, parts } = encoded;
  response.writeHead(
    200,
    headerLength === undefined
      ? { "content-type": "application/json", "content-length": totalBytes, "crosscheck-engine": engine }
      : {
          "content-type": "application/octet-stream",
          "inference-header-content-length": headerLength,
          "content-length": totalBytes,
          "crosscheck-engine": engine,
        },
  );
  if (totalBytes <= copyBytes) {
    response.end(parts.length === 1 ? parts[0] : Buffer.concat(parts, totalBytes));
    return;
  }
  response.cork();
  for (const part of parts) response.write(part);
  response.end();
  response.uncork();
}

/** Up to here one copy costs less than one more write. */
const copyBytes = 64 * 1024;

/** Waits for a cold start no longer than the request allows. */
async function within<T>(
  promise: Promise<T>,
  timeoutMs: number | undefined,
  sinceSeconds: number,
  clock: Clock,
): Promise<T> {
  if (timeoutMs === undefined) return promise;
  const leftMs = timeoutMs - (clock.seconds() - sinceSeconds) * 1000;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => {
            reject(
              new GatewayError(
                "timeout",
                `the model was not loaded within the request's timeout of ${timeoutMs} ms; allow more, or load it first`,
              ),
            );
          },
          Math.max(0, leftMs),
        );
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
