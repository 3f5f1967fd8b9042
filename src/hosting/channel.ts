import type { Socket } from "node:net";
import { decodeHead, frame, patchSequence, type FrameHead } from "./frame.ts";

/** Requests to one host, answered in order. */
export interface Channel {
  /**
   * Writes a frame made by `encodeFrame`; its sequence is filled in. The buffer may be used again after the answer.
   * `payload` is valid during the call only as long as nobody keeps it.
   */
  send(encoded: Buffer, onAnswer: (head: FrameHead, payload: Buffer) => void): void;
  /** Requests that are not answered. */
  readonly waiting: number;
  /** Since when the host has owed the answer that is due next, in seconds of the clock; undefined when it owes none. */
  readonly dueSince: number | undefined;
  /** No answer is handed on after this. */
  close(): void;
}

interface Expected {
  readonly type: number;
  readonly slot: number;
  readonly sequence: number;
  readonly onAnswer: (head: FrameHead, payload: Buffer) => void;
}

export function createChannel(options: {
  readonly socket: Socket;
  readonly generation: number;
  readonly seconds: () => number;
  /** The host broke the protocol. Called once at most. */
  readonly onGarbage: (what: string) => void;
}): Channel {
  const { socket, generation, seconds, onGarbage } = options;
  const expected: Expected[] = [];
  let sequence = 0;
  let dueSince: number | undefined;
  let rest: Buffer | undefined;
  let closed = false;

  function garbage(what: string): void {
    closed = true;
    onGarbage(what);
  }

  function take(bytes: Buffer): void {
    let at = 0;
    while (!closed && bytes.length - at >= frame.headBytes) {
      const head = decodeHead(bytes, at);
      const due = expected[0];
      const fault = due === undefined ? "an answer to nothing" : faultOf(head, due, generation);
      if (fault !== undefined || due === undefined) {
        garbage(fault ?? "");
        return;
      }
      const end = at + frame.headBytes + head.payloadBytes;
      if (end > bytes.length) break;
      expected.shift();
      dueSince = expected.length === 0 ? undefined : seconds();
      due.onAnswer(head, bytes.subarray(at + frame.headBytes, end));
      at = end;
    }
    rest = at === bytes.length || closed ? undefined : bytes.subarray(at);
  }

  socket.on("data", (chunk: Buffer) => {
    if (!closed) take(rest === undefined ? chunk : Buffer.concat([rest, chunk]));
  });

  return {
    send(encoded, onAnswer) {
      if (closed) return;
      sequence += 1;
      patchSequence(encoded, sequence);
      expected.push({ type: encoded.readUInt16LE(4), slot: encoded.readUInt32LE(12), sequence, onAnswer });
      dueSince ??= seconds();
      socket.write(encoded);
    },
    get waiting() {
      return expected.length;
    },
    get dueSince() {
      return dueSince;
    },
    close() {
      closed = true;
    },
  };
}

function faultOf(head: FrameHead, due: Expected, generation: number): string | undefined {
  if (head.magic !== frame.magic) return `magic 0x${head.magic.toString(16)}`;
  if (head.type !== due.type + frame.answerBit)
    return `type ${head.type} where ${due.type + frame.answerBit} was due`;
  if (head.generation !== generation) return `generation ${head.generation}, not ${generation}`;
  if (head.slot !== due.slot) return `slot ${head.slot}, not ${due.slot}`;
  if (head.sequence !== due.sequence) return `sequence ${head.sequence}, not ${due.sequence}`;
  if (head.payloadBytes > frame.payloadLimit) return `a payload of ${head.payloadBytes} bytes`;
  return undefined;
}
