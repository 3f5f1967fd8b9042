import fs from "node:fs";
import {
  brokenPeerExitCode,
  decodeHead,
  encodeFrame,
  frame,
  frameStatus,
  frameType,
  hostDescriptor,
  type FrameHead,
  type FrameStatus,
} from "./frame.ts";
import { BadRequest, bindCall, OutputTooLarge, type BoundCall } from "./host-call.ts";
import { LoadFailed, type HostedEngine, type HostTimes, type LoadJob } from "./hosted-engine.ts";
import { dieWithParent, mapSharedFile, type MappedMemory } from "./mapped-memory.ts";

/** Serves one engine on descriptors 3, 4 and 5 until UNLOAD or the end of file, then ends the process. */
export async function serveEngine<Bound>(
  load: (job: LoadJob) => Promise<HostedEngine<Bound>>,
): Promise<never> {
  dieWithParent();
  // Ctrl-C in a terminal reaches the whole process group; only the gateway decides when a host ends.
  process.on("SIGINT", () => {});
  return process.exit(await answerFrames(load));
}

async function answerFrames<Bound>(load: (job: LoadJob) => Promise<HostedEngine<Bound>>): Promise<number> {
  const read = createFrameReader();
  const calls = new Map<number, BoundCall<Bound>>();
  let engine: HostedEngine<Bound> | undefined;
  let memory: MappedMemory | undefined;
  let generation: number | undefined;

  for (;;) {
    const message = read();
    if ("end" in message) return message.end === undefined ? 0 : broken(message.end);
    const { head, payload } = message;
    if (generation !== undefined && head.generation !== generation) {
      return broken(`a frame of generation ${head.generation} in generation ${generation}`);
    }
    switch (head.type) {
      case frameType.infer: {
        if (engine === undefined || memory === undefined) {
          answerError(head, frameStatus.notLoaded, `INFER before ${engine === undefined ? "LOAD" : "MAP"}`);
          break;
        }
        let call = calls.get(head.slot);
        try {
          if (call === undefined || !call.payload.equals(payload)) {
            call = bindCall<Bound>(engine.info, memory.buffer, head.slot, Buffer.from(payload));
            calls.set(head.slot, call);
          }
          const begin = process.hrtime.bigint();
          const times = await engine.infer(call);
          const spent = Number(process.hrtime.bigint() - begin);
          send(head, frameStatus.ok, call.answer(), times ?? { engineNanoseconds: spent });
        } catch (error) {
          calls.delete(head.slot);
          answerFailure(head, error);
        }
        break;
      }
      case frameType.ping:
        answerJson(head, frameStatus.ok, engine?.ping?.() ?? {});
        break;
      case frameType.load: {
        if (engine !== undefined) {
          answerError(head, frameStatus.badRequest, "an engine is loaded already; one host holds one engine");
          break;
        }
        try {
          const job = JSON.parse(payload.toString()) as LoadJob & { generation: number };
          generation = job.generation;
          engine = await load(job);
          answerJson(head, frameStatus.ok, engine.info);
        } catch (error) {
          console.error(error);
          const remedy = error instanceof LoadFailed ? error.remedy : "";
          answerJson(head, frameStatus.loadFailed, { error: messageOf(error), remedy });
          return 1;
        }
        break;
      }
      case frameType.map: {
        if (engine === undefined) {
          answerError(head, frameStatus.notLoaded, "MAP before LOAD");
          break;
        }
        try {
          const { bytes } = JSON.parse(payload.toString()) as { bytes: number };
          const mapped = mapSharedFile(bytes);
          calls.clear();
          memory?.unmap();
          memory = mapped;
          send(head, frameStatus.ok, nothing);
        } catch (error) {
          answerError(head, frameStatus.badRequest, `cannot map the shared file: ${messageOf(error)}`);
        }
        break;
      }
      case frameType.unload:
        calls.clear();
        await engine?.close?.();
        send(head, frameStatus.ok, nothing);
        return 0;
      default:
        return broken(`a frame of unknown type ${head.type}`);
    }
  }
}

const nothing = Buffer.alloc(0);
const cutShort = "the end of file inside a frame";

type Message = { readonly head: FrameHead; readonly payload: Buffer };

/** Blocking reads; the payload lies in the reader's own buffer and holds until the next read. */
function createFrameReader(): () => Message | { readonly end: string | undefined } {
  const buffer = Buffer.allocUnsafe(2 * (frame.headBytes + frame.payloadLimit));
  let start = 0;
  let end = 0;

  function fill(bytes: number): boolean {
    if (start === end) start = end = 0;
    while (end - start < bytes) {
      if (buffer.length - start < bytes) {
        buffer.copy(buffer, 0, start, end);
        end -= start;
        start = 0;
      }
      const got = readBlocking(buffer, end);
      if (got === 0) return false;
      end += got;
    }
    return true;
  }

  return () => {
    if (!fill(frame.headBytes)) return { end: end === start ? undefined : cutShort };
    const head = decodeHead(buffer, start);
    if (head.magic !== frame.magic) return { end: `a frame with magic 0x${head.magic.toString(16)}` };
    if (head.payloadBytes > frame.payloadLimit)
      return { end: `a frame with ${head.payloadBytes} bytes of payload` };
    if (!fill(frame.headBytes + head.payloadBytes)) return { end: cutShort };
    const begin = start + frame.headBytes;
    start = begin + head.payloadBytes;
    return { head, payload: buffer.subarray(begin, start) };
  };
}

function readBlocking(buffer: Buffer, offset: number): number {
  for (;;) {
    try {
      return fs.readSync(hostDescriptor.frames, buffer, offset, buffer.length - offset, null);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ECONNRESET") return 0;
      // libuv does not restart a read that a signal interrupted.
      if (code !== "EINTR") throw error;
    }
  }
}

function send(head: FrameHead, status: FrameStatus, payload: Buffer, times?: HostTimes): void {
  const bytes = encodeFrame(
    {
      type: head.type + frame.answerBit,
      status,
      generation: head.generation,
      slot: head.slot,
      sequence: head.sequence,
      engineNanoseconds: times?.engineNanoseconds ?? 0,
      deviceNanoseconds: times?.deviceNanoseconds ?? 0,
    },
    payload,
  );
  let written = 0;
  while (written < bytes.length) {
    try {
      written += fs.writeSync(hostDescriptor.frames, bytes, written);
    } catch (error) {
      // The gateway is gone; the next read sees the end of file.
      if ((error as NodeJS.ErrnoException).code === "EPIPE") return;
      throw error;
    }
  }
}

function answerJson(head: FrameHead, status: FrameStatus, fields: object): void {
  send(head, status, Buffer.from(JSON.stringify(fields)));
}

function answerError(head: FrameHead, status: FrameStatus, error: string): void {
  answerJson(head, status, { error });
}

function answerFailure(head: FrameHead, error: unknown): void {
  if (error instanceof OutputTooLarge) {
    answerJson(head, frameStatus.outputTooLarge, { index: error.index, bytes: error.bytes });
  } else if (error instanceof BadRequest) {
    answerError(head, frameStatus.badRequest, error.message);
  } else {
    console.error(error);
    answerError(head, frameStatus.engineError, messageOf(error));
  }
}

function broken(why: string): number {
  console.error(`engine host: ${why}`);
  return brokenPeerExitCode;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
