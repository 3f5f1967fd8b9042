import fs from "node:fs";
import { HostLostError, type HostLossReason } from "../core/engine.ts";
import { delay } from "../core/delay.ts";
import { createChannel, type Channel } from "./channel.ts";
import { encodeFrame, frameType, type FrameHead, type FrameType } from "./frame.ts";
import { startHostProcess, type LaunchOptions } from "./host-process.ts";

/** A host process with the frames to and from it, and the eye on whether it is still there. */
export interface HostLink {
  readonly pid: number | undefined;
  readonly generation: number;
  readonly send: Channel["send"];
  /** Requests that are not answered. */
  readonly waiting: number;
  /** One request that is not INFER. Rejects with HostLostError. */
  request(type: FrameType, fields?: object): Promise<{ readonly status: number; readonly payload: Buffer }>;
  /** Gives the host up: SIGKILL, which works on stopped ones too, and `onLoss`. Returns the error that it is lost by. */
  lose(reason: HostLossReason, message: string): HostLostError;
  /** Set when the process has ended by itself. */
  readonly exitCode: number | undefined;
  /** Asks the host to go (UNLOAD), then tells it to (SIGTERM), then makes it (SIGKILL). Resolves when it is gone. */
  end(): Promise<void>;
}

export interface LinkOptions extends LaunchOptions {
  readonly files: { readonly memory: number; readonly artifact: number | undefined };
  readonly generation: number;
  readonly seconds: () => number;
  /** How long one answer may take, asked whenever it matters. */
  readonly limitSeconds: () => number;
  /** Called once at most, never after `end`. */
  readonly onLoss: (error: HostLostError) => void;
}

const unloadMs = 5000;
const terminateMs = 2000;
/** The limit changes with what the host does, so the watchdog looks this often at least. */
const lookMs = 500;
/** Between the exit of a process and the end of its socket, whichever comes first. */
const graceMs = 100;

export function openHostLink(options: LinkOptions): HostLink {
  const { generation, seconds, limitSeconds, onLoss, files } = options;
  const host = startHostProcess(options, files);
  const requests = new Set<(error: HostLostError) => void>();
  let lost: HostLostError | undefined;
  let ending: Promise<void> | undefined;
  let watchdog: NodeJS.Timeout | undefined;
  let exitCode: number | undefined;

  const channel = createChannel({
    socket: host.socket,
    generation,
    seconds,
    onGarbage: (what) => lose("garbage", `sent ${what}`),
  });

  function lose(reason: HostLossReason, message: string): HostLostError {
    if (lost !== undefined) return lost;
    lost = new HostLostError(reason, `engine host ${host.pid ?? "(never started)"} ${message}`);
    channel.close();
    clearTimeout(watchdog);
    host.kill("SIGKILL");
    host.socket.destroy();
    for (const reject of requests) reject(lost);
    requests.clear();
    if (ending === undefined) onLoss(lost);
    return lost;
  }

  // Answers may still lie in the socket when the exit is reported, and the exit comes late when only the socket ended.
  const socketEnded = new Promise<void>((resolve) => host.socket.once("close", resolve));
  void host.exited.then(async ({ code, description }) => {
    exitCode = code;
    await Promise.race([socketEnded, delay(graceMs)]);
    lose("exited", description);
  });
  void socketEnded.then(async () => {
    const exit = await Promise.race([host.exited, delay(graceMs)]);
    if (exit === undefined) lose("garbage", "closed its frame socket");
  });

  function watch(): void {
    if (watchdog !== undefined || channel.dueSince === undefined || lost !== undefined) return;
    const left = channel.dueSince + limitSeconds() - seconds();
    watchdog = setTimeout(check, Math.min(Math.max(1, left * 1000), lookMs));
    watchdog.unref();
  }

  function check(): void {
    watchdog = undefined;
    if (isOverdue()) {
      // When this process itself was held up, the answer lies in the socket already: read it first.
      setImmediate(() => {
        if (isOverdue()) lose("hung", `has not answered within ${limitSeconds().toFixed(1)} s`);
        else watch();
      });
    } else watch();
  }

  function isOverdue(): boolean {
    return channel.dueSince !== undefined && seconds() - channel.dueSince >= limitSeconds();
  }

  function send(encoded: Buffer, onAnswer: (head: FrameHead, payload: Buffer) => void): void {
    channel.send(encoded, onAnswer);
    if (watchdog === undefined) watch();
  }

  function request(type: FrameType, fields?: object): ReturnType<HostLink["request"]> {
    const payload = Buffer.from(fields === undefined ? "" : JSON.stringify(fields));
    return new Promise((resolve, reject) => {
      if (lost !== undefined) {
        reject(lost);
        return;
      }
      requests.add(reject);
      send(encodeFrame({ type, generation, sequence: 0 }, payload), (head, answer) => {
        requests.delete(reject);
        resolve({ status: head.status, payload: Buffer.from(answer) });
      });
    });
  }

  async function end(): Promise<void> {
    // Whatever happens to it from now on is not a loss.
    // At idle priority a host may not get to run for as long as others are busy, and has nothing to save: it is killed.
    if (lost === undefined && options.priority !== "shadow") {
      request(frameType.unload).catch(() => {});
      if (await within(unloadMs, host.exited)) return;
      host.kill("SIGTERM");
      if (await within(terminateMs, host.exited)) return;
    }
    host.kill("SIGKILL");
    await host.exited;
  }

  return {
    pid: host.pid,
    generation,
    send,
    get waiting() {
      return channel.waiting;
    },
    request,
    get exitCode() {
      return exitCode;
    },
    lose,
    end: () => (ending ??= end()),
  };
}

/** Whether the process is stopped by a signal (state T): it will not load anything then. */
export function isStopped(pid: number): boolean {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold anything; the state follows the last one.
    return /^[Tt]/.test(stat.slice(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

async function within(milliseconds: number, promise: Promise<unknown>): Promise<boolean> {
  const ended = promise.then(() => true);
  return (await Promise.race([ended, delay(milliseconds)])) === true;
}
