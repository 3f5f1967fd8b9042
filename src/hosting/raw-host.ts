import fs from "node:fs";
import type { Socket } from "node:net";
import type { EngineInfo } from "../core/engine.ts";
import { openArtifact } from "./artifact.ts";
import { parseEngineInfo } from "./engine-info.ts";
import { decodeHead, encodeFrame, frame, frameStatus, frameType, type FrameHead } from "./frame.ts";
import { startHostProcess, type HostExit, type LaunchOptions } from "./host-process.ts";
import { createSharedFile, type SharedFile } from "./shared-file.ts";

/** A host as the conformance test drives it: frame by frame, wrong ones too. */
export interface RawHost {
  readonly file: SharedFile;
  /** Writes a frame, correct but for `change`. Returns its sequence. */
  send(type: number, payload?: Buffer | object, change?: FrameChange): number;
  write(bytes: Buffer): void;
  /** Makes the frame that `send` would write. */
  encode(type: number, payload?: Buffer | object, change?: FrameChange): Buffer;
  /** The next answer; rejects when none comes in time or the host is gone. */
  receive(): Promise<{ readonly head: FrameHead; readonly payload: Buffer }>;
  /** Ctrl-C in the gateway's terminal: SIGINT. */
  interrupt(): void;
  /** Ends the gateway's side of the socket. */
  hangUp(): void;
  /** How the process ended; rejects when it does not in time. */
  exit(): Promise<HostExit>;
  readonly alive: boolean;
  kill(): Promise<void>;
}

export interface FrameChange {
  readonly slot?: number;
  readonly generation?: number;
  /** Applied to the encoded frame last. */
  readonly patch?: (bytes: Buffer) => void;
}

export interface RawEngine {
  readonly artifact: { readonly path: string; readonly sha256: string };
  readonly manifest: object;
  readonly directory: string;
}

export const rawGeneration = 77;

export async function startRawHost(
  launch: LaunchOptions,
  engine: RawEngine | undefined,
  timeoutSeconds: number,
): Promise<RawHost> {
  const file = createSharedFile("/dev/shm");
  const artifact =
    engine === undefined ? undefined : await openArtifact(engine.artifact.path, engine.artifact.sha256);
  // A file that no runtime takes for an engine, where none is given.
  const fallback = artifact === undefined ? createSharedFile("/dev/shm") : undefined;
  fallback?.grow(64);
  const host = startHostProcess(launch, {
    memory: file.descriptor,
    artifact: artifact?.fd ?? fallback?.descriptor,
  });
  await artifact?.close();
  fallback?.close();
  let sequence = 0;
  let alive = true;
  void host.exited.then(() => {
    alive = false;
    file.close();
  });
  const answers = createAnswers(host.socket);

  function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${what} within ${timeoutSeconds} s`)),
        timeoutSeconds * 1000,
      );
      promise.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }

  function encode(
    type: number,
    payload: Buffer | object = Buffer.alloc(0),
    change: FrameChange = {},
  ): Buffer {
    sequence += 1;
    const { slot = 0, generation = rawGeneration, patch } = change;
    const body = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload));
    const bytes = encodeFrame({ type, generation, slot, sequence }, body);
    patch?.(bytes);
    return bytes;
  }

  return {
    file,
    encode,
    send(type, payload, change) {
      host.socket.write(encode(type, payload, change));
      return sequence;
    },
    write: (bytes) => void host.socket.write(bytes),
    async receive() {
      const gone = host.exited.then(({ description }) => {
        throw new Error(`the host ${description}`);
      });
      return inTime("no answer", Promise.race([answers(), gone]));
    },
    interrupt: () => host.kill("SIGINT"),
    hangUp: () => void host.socket.destroy(),
    exit: () => inTime("it has not exited", host.exited),
    get alive() {
      return alive;
    },
    async kill() {
      host.kill("SIGKILL");
      await host.exited;
    },
  };
}

/** LOAD and its checked answer. */
export async function loadRaw(host: RawHost, engine: RawEngine, threads: number): Promise<EngineInfo> {
  const { manifest, directory } = engine;
  host.send(frameType.load, {
    manifest,
    artifact: "/proc/self/fd/5",
    directory: fs.realpathSync(directory),
    threads,
    generation: rawGeneration,
  });
  const { head, payload } = await host.receive();
  if (head.status !== frameStatus.ok)
    throw new Error(`LOAD was answered with status ${head.status}: ${payload.toString()}`);
  return parseEngineInfo(payload);
}

function createAnswers(socket: Socket): () => Promise<{ head: FrameHead; payload: Buffer }> {
  let bytes: Buffer = Buffer.alloc(0);
  let wake = (): void => {};
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  return async () => {
    for (;;) {
      if (bytes.length >= frame.headBytes) {
        const head = decodeHead(bytes, 0);
        const end = frame.headBytes + head.payloadBytes;
        if (bytes.length >= end) {
          const payload = bytes.subarray(frame.headBytes, end);
          bytes = bytes.subarray(end);
          return { head, payload };
        }
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
}
