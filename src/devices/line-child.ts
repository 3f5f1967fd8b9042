import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Log } from "../core/log.ts";

/** A program that prints a line every interval, kept running: killed when it falls silent, started again with back-off. */
export interface LineChild {
  close(): void;
}

export interface LineChildOptions {
  readonly command: readonly string[];
  readonly log: Log;
  readonly onLine: (line: string) => void;
  /** It exited with 3: what it reads is not there, and starting again will not help. */
  readonly onAbsent: (reason: string) => void;
  /** Silence after which it counts as hung. */
  readonly silenceMs: number;
}

const firstRetryMs = 1_000;
const lastRetryMs = 60_000;

export function createLineChild({ command, log, onLine, onAbsent, silenceMs }: LineChildOptions): LineChild {
  let closed = false;
  let retryMs = firstRetryMs;
  let retry: NodeJS.Timeout | undefined;
  let stop = (): void => {};

  function start(): void {
    const [program = "", ...args] = command;
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    // Readings must not keep the gateway's process alive.
    child.unref();
    for (const stream of child.stdio) (stream as unknown as { unref?(): void } | null)?.unref?.();
    let errors = "";
    const watchdog = setTimeout(() => child.kill("SIGKILL"), silenceMs).unref();
    stop = () => {
      clearTimeout(watchdog);
      child.kill("SIGKILL");
    };
    child.stdin.on("error", () => {});
    child.stderr.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-2_000);
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      watchdog.refresh();
      retryMs = firstRetryMs;
      if (!closed) onLine(line);
    });
    let ended = false;
    const end = (reason: string, code: number | null): void => {
      if (ended) return;
      ended = true;
      clearTimeout(watchdog);
      if (closed) return;
      if (code === 3) {
        onAbsent(errors.trim() || reason);
        return;
      }
      log.warn(
        { program, reason, stderr: errors.trim() },
        "Device readings stopped; they start again shortly",
      );
      retry = setTimeout(start, retryMs).unref();
      retryMs = Math.min(retryMs * 2, lastRetryMs);
    };
    child.on("error", (error) => end(error.message, null));
    child.on("close", (code, signal) => end(`ended with ${signal ?? `code ${code}`}`, code));
  }

  start();
  return {
    close() {
      closed = true;
      clearTimeout(retry);
      stop();
    },
  };
}
