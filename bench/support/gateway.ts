import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { processCpuSeconds } from "../../src/devices/process-cpu.ts";
import { nowMs } from "./load.ts";
import { serverCores } from "./options.ts";

export const root = resolve(import.meta.dirname, "../..");

/** A server in a process of its own. */
export interface Server {
  readonly port: number;
  readonly pid: number;
  /** From the start of the process until it said that it is ready. */
  readonly readySeconds: number;
  close(): Promise<void>;
}

/** `crosscheck serve` on a free port, as a user starts it; resolves when /v2/health/ready says 200. */
export async function startGateway(
  repository: string,
  { nodeArguments = [] }: { nodeArguments?: readonly string[] } = {},
): Promise<Server> {
  const store = mkdtempSync(join(tmpdir(), "crosscheck-bench-"));
  const server = await startServer(
    [...nodeArguments, join(root, "bin/crosscheck.mjs"), "serve", "--port", "0", "--repository", repository],
    { CROSSCHECK_STORE_PATH: store, CROSSCHECK_LOG_LEVEL: "warn" },
    async (port) => (await fetch(`http://127.0.0.1:${port}/v2/health/ready`)).status === 200,
  );
  return {
    ...server,
    async close() {
      await server.close();
      rmSync(store, { recursive: true, force: true });
    },
  };
}

/** Runs node with these arguments; it prints its URL, and is ready when `ready` says so. */
export async function startServer(
  nodeArguments: readonly string[],
  environment: Readonly<Record<string, string>>,
  ready: (port: number) => Promise<boolean>,
): Promise<Server> {
  const began = nowMs();
  const cwd = join(root, "bench/out");
  mkdirSync(cwd, { recursive: true });
  const pinned = serverCores === undefined ? [] : ["taskset", "-c", serverCores.join(",")];
  const [program = "", ...rest] = [...pinned, process.execPath, ...nodeArguments];
  const child = spawn(program, rest, {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const port = await new Promise<number>((resolve, reject) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    void exited.then((code) =>
      reject(new Error(`the server ended with ${code} before it listened: ${text}`)),
    );
  });
  while (!(await ready(port))) await new Promise((resolve) => setTimeout(resolve, 20));
  return {
    port,
    pid: child.pid as number,
    readySeconds: (nowMs() - began) / 1000,
    async close() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

/** Resident memory in bytes (VmRSS of proc(5)) and the processes that this one has started. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}

/** Processor time of processes in seconds, in ticks of 10 ms. @throws Error when one of them is gone. */
export function cpuSecondsOf(pids: readonly number[]): number {
  let seconds = 0;
  for (const pid of pids) {
    const used = processCpuSeconds(pid);
    if (used === undefined) throw new Error(`process ${pid} is gone`);
    seconds += used;
  }
  return seconds;
}

export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);
}

/** The sum of a metric's series that carry all of these labels. */
export async function metric(
  server: Server,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text();
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  let sum = 0;
  for (const line of text.split("\n"))
    if (line.startsWith(`crosscheck_${name}{`) && wanted.every((label) => line.includes(label)))
      sum += Number(line.slice(line.lastIndexOf(" ") + 1));
  return sum;
}
