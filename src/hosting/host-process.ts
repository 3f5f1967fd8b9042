import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import type { Log } from "../core/log.ts";
import { launchCommand, type HostPriority } from "./launch.ts";
import { eachLine } from "./output-lines.ts";

/** A host program that runs, and its end of the frame socket. */
export interface HostProcess {
  readonly pid: number | undefined;
  readonly socket: Socket;
  /** Resolves, never rejects, when the process is gone. */
  readonly exited: Promise<HostExit>;
  readonly kill: (signal: NodeJS.Signals) => void;
}

export interface HostExit {
  /** Undefined when a signal ended it, or when it never ran. */
  readonly code: number | undefined;
  /** How it ended, with its last lines on standard error. */
  readonly description: string;
}

export interface LaunchOptions {
  /** Program and arguments. */
  readonly command: readonly string[];
  readonly workingDirectory: string;
  /** The whole environment of the host. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly threads: number;
  readonly priority: HostPriority;
  readonly log: Log;
}

const lastLinesKept = 10;

/** Starts a host with the descriptors of docs/engine-host.md. The caller keeps and closes the two files. */
export function startHostProcess(
  options: LaunchOptions,
  files: { readonly memory: number; readonly artifact: number | undefined },
): HostProcess {
  const { workingDirectory, env, threads, priority, log } = options;
  const [program = "", ...args] = launchCommand(options.command, { priority, threads });
  const child = spawn(program, args, {
    cwd: workingDirectory,
    env: {
      ...env,
      CROSSCHECK_HOST_PROTOCOL: "1",
      CROSSCHECK_THREADS: String(threads),
    },
    stdio: ["ignore", "pipe", "pipe", "pipe", files.memory, files.artifact ?? "ignore"],
    // No session of its own: where the kernel groups tasks by session (sched_autogroup), the idle class of a shadow host
    // counts only within its session, and in one of its own it would compete with the gateway as an equal.
    detached: false,
  });
  const lastLines: string[] = [];
  const [, stdout, stderr, frames] = child.stdio as unknown as [null, Readable, Readable, Socket];
  for (const [name, stream] of Object.entries({ stdout, stderr })) {
    eachLine(stream, (line) => {
      log.info({ hostPid: child.pid, stream: name }, line);
      if (name === "stderr" && lastLines.push(line) > lastLinesKept) lastLines.shift();
    });
  }
  // What ends the socket is told by the exit; without a listener an EPIPE would be thrown.
  frames.on("error", () => {});

  const exited = new Promise<HostExit>((resolve) => {
    child.once("error", (error) =>
      resolve({ code: undefined, description: `cannot be started: ${error.message}` }),
    );
    child.once("exit", (code, signal) => {
      // Standard error may hold lines that have not been read yet; a grandchild could keep it open for ever.
      const report = (): void => {
        clearTimeout(timer);
        const how = code === null ? `was ended by ${signal}` : `exited with ${code}`;
        const words = lastLines.length === 0 ? "" : `; its last words: ${lastLines.join(" | ")}`;
        resolve({ code: code ?? undefined, description: `${how}${words}` });
      };
      const timer = setTimeout(report, 200);
      if (stderr.readableEnded) report();
      else stderr.once("end", report);
    });
  });

  return { pid: child.pid, socket: frames, exited, kill: (signal) => void child.kill(signal) };
}
