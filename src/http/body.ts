import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { gunzip, inflate } from "node:zlib";
import { GatewayError } from "../core/errors.ts";

/** How large a body may be, and what to do about one that is larger. */
export interface BodyLimit {
  readonly bytes: number;
  readonly remedy: string;
}

/**
 * The whole body of a request, unpacked when it is gzip or deflate. The limit holds for what arrives and for what it
 * unpacks to; nothing is allocated before the bytes are there.
 * @throws GatewayError `tooLarge`, `invalid` (bad packing, cut short).
 */
export async function readBody(request: IncomingMessage, limit: BodyLimit): Promise<Uint8Array> {
  const { "content-length": length, "content-encoding": encoding } = request.headers;
  if (length !== undefined && Number(length) > limit.bytes) throw tooLarge(limit, length);
  const unpack = unpackers(encoding);
  const packed = await collect(request, limit);
  if (!unpack) return packed;
  try {
    return await unpack(packed, { maxOutputLength: limit.bytes });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(limit, "more when unpacked");
    const reason = error instanceof Error ? error.message : "bad data";
    throw new GatewayError("invalid", `the body is not valid ${encoding}: ${reason}`, { cause: error });
  }
}

function collect(request: IncomingMessage, limit: BodyLimit): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > limit.bytes) {
        request.removeAllListeners("data");
        request.pause();
        reject(tooLarge(limit, "more"));
        return;
      }
      chunks.push(chunk);
    });
    request.on("end", () => {
      const [first] = chunks;
      resolve(chunks.length === 1 && first ? first : Buffer.concat(chunks, bytes));
    });
    request.on("error", () => {
      reject(new GatewayError("invalid", "the body ended before its announced length; the client has gone"));
    });
  });
}

function unpackers(encoding: string | undefined) {
  switch (encoding) {
    case undefined:
    case "identity":
    case "":
      return undefined;
    case "gzip":
    case "x-gzip":
      return promisify(gunzip);
    case "deflate":
      return promisify(inflate);
    default:
      throw new GatewayError(
        "invalid",
        `Content-Encoding ${JSON.stringify(encoding)} is not taken; send gzip, deflate or no encoding`,
      );
  }
}

function tooLarge({ bytes, remedy }: BodyLimit, given: string): GatewayError {
  return new GatewayError(
    "tooLarge",
    `the body is over the limit of ${bytes} bytes: it has ${given}; ${remedy}`,
  );
}
