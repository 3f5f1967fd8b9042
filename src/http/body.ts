import type { IncomingMessage } from "node:http";
import { promisify } from "node:util";
import { gunzip, inflate } from "node:zlib";
import { GatewayError } from "../core/errors.ts";

/**
 * The whole body of a request, unpacked when it is gzip or deflate. `limitBytes` holds for what arrives and for what
 * it unpacks to; nothing is allocated before the bytes are there.
 * @throws GatewayError `tooLarge`, `invalid` (bad packing, cut short).
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Uint8Array> {
  const { "content-length": length, "content-encoding": encoding } = request.headers;
  if (length !== undefined && Number(length) > limitBytes) throw tooLarge(`${length} bytes`, limitBytes);
  const unpack = unpackerOf(encoding);
  const packed = await collect(request, limitBytes);
  return unpack ? unpack(packed, limitBytes) : packed;
}

function collect(request: IncomingMessage, limitBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > limitBytes) {
        request.removeAllListeners("data");
        request.pause();
        reject(tooLarge(`more than ${limitBytes} bytes`, limitBytes));
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

type Unpack = (packed: Uint8Array, limitBytes: number) => Promise<Uint8Array>;

function unpackerOf(encoding: string | undefined): Unpack | undefined {
  switch (encoding) {
    case undefined:
    case "identity":
    case "":
      return undefined;
    case "gzip":
    case "x-gzip":
      return (packed, limit) =>
        unpacked("gzip", promisify(gunzip)(packed, { maxOutputLength: limit }), limit);
    case "deflate":
      return (packed, limit) =>
        unpacked("deflate", promisify(inflate)(packed, { maxOutputLength: limit }), limit);
    default:
      throw new GatewayError(
        "invalid",
        `Content-Encoding ${JSON.stringify(encoding)} is not taken; send gzip, deflate or no encoding`,
      );
  }
}

async function unpacked(
  encoding: string,
  work: Promise<Uint8Array>,
  limitBytes: number,
): Promise<Uint8Array> {
  try {
    return await work;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ERR_BUFFER_TOO_LARGE") throw tooLarge(`more than ${limitBytes} bytes unpacked`, limitBytes);
    const reason = error instanceof Error ? error.message : "bad data";
    throw new GatewayError("invalid", `the body is not valid ${encoding}: ${reason}`, { cause: error });
  }
}

function tooLarge(what: string, limitBytes: number): GatewayError {
  return new GatewayError(
    "tooLarge",
    `the body has ${what}; the limit is ${limitBytes} (limits.bodyBytes in crosscheck.yaml)`,
  );
}
