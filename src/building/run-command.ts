import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { createInterface } from "node:readline";
import { launchCommand } from "../hosting/launch.ts";
import type { Command } from "./families.ts";

export interface RunCommandOptions {
  readonly args?: readonly string[];
  /** Written to standard input, which is closed then; absent: empty. */
  readonly input?: string;
  readonly onLine?: (line: string) => void;
  readonly onErrorLine?: (line: string) => void;
  /** Aborting sends SIGINT; a program that is still there 15 s later is killed with all it started. */
  readonly signal?: AbortSignal | undefined;
  /** Killed with all it started after this time. */
  readonly timeoutMs?: number;
}

export interface CommandEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
}

const graceMs = 15_000;

/**
 * Runs a family's program to its end. It gets a process group of its own, so that a Ctrl-C in the terminal reaches it
 * once, through `signal`, and dies with this process.
 *
 * @throws Error (the system's own, with `code`) when the program cannot be started.
 */
export async function runCommand(command: Command, options: RunCommandOptions = {}): Promise<CommandEnd> {
  const { args = [], input, onLine, onErrorLine, signal, timeoutMs } = options;
  // Asked for here: behind a prefix such as setpriv the system's own error would be lost.
  if (isAbsolute(command.file)) await access(command.file, constants.X_OK);
  const [file = "", ...rest] = launchCommand([command.file, ...command.args, ...args], {
    priority: "serving",
    threads: 1,
  });
  const child = spawn(file, rest, {
    cwd: command.cwd,
    env: command.env,
    detached: true,
    stdio: "pipe",
  });
  const timers: NodeJS.Timeout[] = [];
  const killGroup = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended in the meantime.
    }
  };
  let timedOut = false;
  const interrupt = (): void => {
    child.kill("SIGINT");
    timers.push(setTimeout(killGroup, graceMs));
  };
  if (timeoutMs !== undefined) {
    timers.push(
      setTimeout(() => {
        timedOut = true;
        killGroup();
      }, timeoutMs),
    );
  }
  const lines = [linesOf(child.stdout, onLine), linesOf(child.stderr, onErrorLine)];
  // A program that ends without reading its job makes the write fail; how it ended tells more.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  try {
    return await new Promise<CommandEnd>((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, endSignal) => {
        // What it started may hold the pipes open for ever: only what is already there is waited for.
        const drained = setTimeout(() => {
          child.stdout.destroy();
          child.stderr.destroy();
        }, 1000);
        timers.push(drained);
        void Promise.all(lines).then(() => resolve({ code, signal: endSignal, timedOut }));
      });
      if (signal?.aborted === true) interrupt();
      else signal?.addEventListener("abort", interrupt, { once: true });
    });
  } finally {
    signal?.removeEventListener("abort", interrupt);
    for (const timer of timers) clearTimeout(timer);
  }
}

function linesOf(stream: NodeJS.ReadableStream, onLine: ((line: string) => void) | undefined): Promise<void> {
  return new Promise((resolve) => {
    const reader = createInterface({ input: stream });
    reader.on("line", (line) => onLine?.(line));
    reader.on("close", () => resolve());
    stream.on("error", () => resolve());
    // A stream that was destroyed, as somebody the program left behind held it open, ends without the reader's close.
    stream.on("close", () => resolve());
  });
}
