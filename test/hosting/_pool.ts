import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { Log } from "../../src/core/log.ts";
import { byteSize, type Datatype, type Tensor } from "../../src/core/tensor.ts";
import { createPool, type Pool, type PoolEvent, type PoolOptions } from "../../src/hosting/pool.ts";

const programs = path.join(import.meta.dirname, "programs");
const root = path.resolve(import.meta.dirname, "../..");
export const tsx = fileURLToPath(import.meta.resolve("tsx"));

/** Commands of the test hosts, run as `engines/<family>/family.yaml` would. */
export const hosts = {
  typescript: [process.execPath, "--import", tsx, path.join(programs, "echo-host.ts")],
  python: ["python3", path.join(programs, "echo_host.py")],
  rogue: [process.execPath, path.join(programs, "rogue-host.mjs")],
} as const;

export interface TestPool {
  readonly pool: Pool;
  readonly events: PoolEvent[];
  readonly lines: string[];
}

/** A pool of test hosts, closed when the test ends. Not started. */
export function testPool(
  host: keyof typeof hosts,
  manifest: object,
  options: Partial<PoolOptions> = {},
): TestPool {
  const events: PoolEvent[] = [];
  const lines: string[] = [];
  const pool = createPool({
    label: { model: "test", engine: host },
    host: { command: hosts[host], workingDirectory: root, env: hostEnv() },
    artifact: textArtifact("artifact text"),
    manifest,
    directory: root,
    threads: 1,
    instances: { min: 1, max: 1 },
    priority: "serving",
    clock: systemClock,
    log: collectingLog(lines),
    onEvent: (event) => events.push(event),
    ...options,
  });
  onTestFinished(() => pool.close());
  return { pool, events, lines };
}

export function hostEnv(): NodeJS.ProcessEnv {
  return { ...process.env, PYTHONPATH: path.join(root, "engines/python"), PYTHONDONTWRITEBYTECODE: "1" };
}

/** A folder that goes with the test. */
export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "crosscheck-hosting-"));
  onTestFinished(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function textArtifact(text: string): { readonly path: string; readonly sha256: string } {
  const file = path.join(temporaryFolder(), "artifact");
  fs.writeFileSync(file, text);
  return { path: file, sha256: createHash("sha256").update(text).digest("hex") };
}

function collectingLog(lines: string[]): Log {
  const add = (_: object, message: string) => void lines.push(message);
  const log: Log = { debug: add, info: add, warn: add, error: add, child: () => log };
  return log;
}

export function tensor(name: string, datatype: Datatype, shape: readonly number[], fill = 1): Tensor {
  const data = new Uint8Array(byteSize(datatype, shape));
  for (let index = 0; index < data.length; index += 1) data[index] = (index * 31 + fill) % 256;
  return { name, datatype, shape, data };
}

/** A UINT8 input of one element, which the echo hosts act upon. */
export function command(code: number): Tensor {
  return { name: "command", datatype: "UINT8", shape: [1], data: Uint8Array.of(code) };
}

export const commandOnly = { tensors: [{ name: "command", datatype: "UINT8", shape: [1] }] };

export const commands = {
  nothing: 0,
  exit: 1,
  loop: 2,
  killItself: 3,
  slow: 4,
  fail: 5,
  refuse: 6,
  spam: 7,
  stop: 8,
} as const;

export function isAlive(pid: number): boolean {
  try {
    // A zombie is dead; its parent has only not asked yet.
    return !/^State:\s*Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}
