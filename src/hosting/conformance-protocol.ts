import { brokenPeerExitCode, frame, frameStatus, frameType } from "./frame.ts";
import { rawGeneration, type RawHost } from "./raw-host.ts";

/** One demand of docs/engine-host.md: throws what is wrong. */
export type Check = (start: () => Promise<RawHost>) => Promise<void>;

/** What holds for every host before an engine is loaded. */
export const protocolChecks: Readonly<Record<string, Check>> = {
  "answers PING before LOAD, with JSON": async (start) => {
    const host = await start();
    await expectAnswer(host, frameType.ping, frameStatus.ok);
  },

  "repeats generation, slot and sequence in answers": async (start) => {
    const host = await start();
    const sequence = host.send(frameType.ping, undefined, { slot: 1 });
    const { head } = await host.receive();
    if (head.magic !== frame.magic) throw new Error(`magic 0x${head.magic.toString(16)}`);
    if (head.type !== frameType.ping + frame.answerBit) throw new Error(`type ${head.type}`);
    if (head.generation !== rawGeneration || head.slot !== 1 || head.sequence !== sequence) {
      throw new Error(`generation ${head.generation}, slot ${head.slot}, sequence ${head.sequence}`);
    }
  },

  "answers INFER and MAP before LOAD with NOT_LOADED and goes on": async (start) => {
    const host = await start();
    await expectAnswer(host, frameType.infer, frameStatus.notLoaded);
    await expectAnswer(host, frameType.map, frameStatus.notLoaded, { bytes: 4096 });
    await expectAnswer(host, frameType.ping, frameStatus.ok);
  },

  "takes a frame that comes in pieces, and two that come at once": async (start) => {
    const host = await start();
    const whole = host.encode(frameType.ping, {});
    for (let at = 0; at < whole.length; at += 13) {
      host.write(whole.subarray(at, at + 13));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await host.receive();
    host.write(Buffer.concat([host.encode(frameType.ping), host.encode(frameType.ping)]));
    const first = await host.receive();
    const second = await host.receive();
    if (second.head.sequence !== first.head.sequence + 1) throw new Error("the answers are out of order");
  },

  "answers LOAD of what is no engine with LOAD_FAILED and exits": async (start) => {
    const host = await start();
    host.send(frameType.load, {
      manifest: {},
      artifact: "/dev/null",
      directory: "/",
      threads: 1,
      generation: rawGeneration,
    });
    const { head, payload } = await host.receive();
    if (head.status !== frameStatus.loadFailed) throw new Error(`status ${head.status}`);
    expectError(payload);
    await host.exit();
  },

  "exits with 70 on a wrong magic": (start) => expectBroken(start, (bytes) => bytes.writeUInt32LE(1, 0)),
  "exits with 70 on an unknown type": (start) => expectBroken(start, (bytes) => bytes.writeUInt16LE(99, 4)),
  "exits with 70 on too large a payload": (start) =>
    expectBroken(start, (bytes) => bytes.writeUInt32LE(frame.payloadLimit + 1, 24)),

  "goes on after SIGINT": async (start) => {
    const host = await start();
    await expectAnswer(host, frameType.ping, frameStatus.ok);
    host.interrupt();
    await expectAnswer(host, frameType.ping, frameStatus.ok);
  },

  "exits at the end of file": async (start) => {
    const host = await start();
    await expectAnswer(host, frameType.ping, frameStatus.ok);
    host.hangUp();
    await host.exit();
  },

  "answers UNLOAD and exits with 0": async (start) => {
    const host = await start();
    await expectAnswer(host, frameType.unload, frameStatus.ok);
    await expectExit(host, 0);
  },
};

/** Sends a request and checks the answer's status, and that an error comes with a text. */
export async function expectAnswer(
  host: RawHost,
  type: number,
  status: number,
  payload?: Buffer | object,
): Promise<Buffer> {
  host.send(type, payload);
  const answer = await host.receive();
  if (answer.head.status !== status) {
    throw new Error(
      `status ${answer.head.status} where ${status} was due: ${answer.payload.toString().slice(0, 300)}`,
    );
  }
  if (status === frameStatus.ok) {
    if (type === frameType.ping) JSON.parse(answer.payload.toString());
  } else if (status !== frameStatus.outputTooLarge) expectError(answer.payload);
  return answer.payload;
}

export async function expectExit(host: RawHost, code: number): Promise<void> {
  const exit = await host.exit();
  if (exit.code !== code) throw new Error(`it ${exit.description}, where exit ${code} was due`);
}

function expectError(payload: Buffer): void {
  const { error } = JSON.parse(payload.toString()) as { error?: unknown };
  if (typeof error !== "string" || error === "") throw new Error(`no "error" in ${payload.toString()}`);
}

async function expectBroken(start: () => Promise<RawHost>, patch: (bytes: Buffer) => void): Promise<void> {
  const host = await start();
  host.send(frameType.ping, undefined, { patch });
  await expectExit(host, brokenPeerExitCode);
}
