import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createStub, start } from "../http/_stub.ts";

/** A V2 server under test: where it listens, a model of it, an engine of that model that is not the active one. */
interface Target {
  readonly url: string;
  readonly model: string;
  readonly pinned: string;
  close(): Promise<void>;
}

const root = new URL("../../", import.meta.url).pathname;
const python = join(root, "test/.venv/bin/python");
const demoModel = join(root, "models/traffic-signs/model.onnx");
const noClient = existsSync(python) ? undefined : "test/.venv is missing; npm test makes it";

/** Of tritonclient_check.py, in its order. */
const checks = [
  "health",
  "metadata",
  "config",
  "encodings",
  "compression",
  "together",
  "requested",
  "classes",
];
checks.push("engine", "refusals", "statistics", "repository");

const targets: [name: string, why: string | undefined, open: () => Promise<Target>][] = [
  ["the HTTP face alone, over a stub", noClient, openStub],
  ["the gateway, over onnxruntime in host processes", noClient ?? demoModelMissing(), openGateway],
];

describe.each(targets)("tritonclient against %s", (_name, why, open) => {
  let target: Target | undefined;
  beforeAll(async () => {
    if (why === undefined) target = await open();
  });
  afterAll(async () => {
    await target?.close();
  });

  it("finds everything as Triton has it", async (context) => {
    if (why !== undefined) context.skip(why);
    if (!target) throw new Error("the server under test was not started");
    const { url, model, pinned } = target;
    const args = ["test/e2e/tritonclient_check.py", new URL(url).host, model, pinned];
    const { stdout } = await promisify(execFile)(python, args, { cwd: root });
    expect(stdout.trim().split("\n")).toEqual(checks.map((check) => `ok ${check}`));
  });
});

async function openStub(): Promise<Target> {
  const stub = createStub({
    inputs: [{ name: "image", datatype: "FP32", shape: [-1, 3, 8, 8] }],
    outputs: [{ name: "scores", datatype: "FP32", shape: [-1, 3, 8, 8] }],
    labels: Array.from({ length: 192 }, (_, index) => `class ${index}`),
  });
  const server = await start(stub);
  return { url: server.url, model: "copy", pinned: "autotvm-1", close: () => server.close() };
}

function demoModelMissing(): string | undefined {
  return existsSync(demoModel) ? undefined : "models/traffic-signs/model.onnx is missing";
}

/** Two engines compiled for the occasion, and `crosscheck serve` as a user starts it. */
async function openGateway(): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), "crosscheck-e2e-"));
  const repository = join(folder, "models");
  await mkdir(join(repository, "signs"), { recursive: true });
  const labels = Array.from({ length: 20 }, (_, index) => `sign ${index}`);
  await writeFile(join(repository, "signs/model.yaml"), JSON.stringify({ name: "signs", labels }));
  const compile = ["compile", demoModel, "--model", "signs", "--compiler", "onnxruntime", "--builds", "2"];
  await promisify(execFile)(process.execPath, commandLine([...compile, "--repository", repository]), {
    cwd: root,
  });
  const child = spawn(process.execPath, commandLine(["serve", "--port", "0", "--repository", repository]), {
    cwd: root,
    env: { ...process.env, CROSSCHECK_STORE_PATH: join(folder, "var") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const listening = new Promise<string>((resolve, reject) => {
    const hear = (data: Buffer): void => {
      said += data.toString();
      const [, url] = /listens on (\S+);/.exec(said) ?? [];
      if (url !== undefined && said.includes("Ready after")) resolve(url);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("exit", (code, signal) => reject(new Error(`serve ended with ${code ?? signal}:\n${said}`)));
  });
  const url = await listening;
  return {
    url,
    model: "signs",
    pinned: "onnxruntime-2",
    async close() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGTERM");
        await once(child, "exit");
      }
      await rm(folder, { recursive: true });
      expect([child.exitCode, child.signalCode, said]).toEqual([0, null, said]);
    },
  };
}

function commandLine(args: readonly string[]): string[] {
  const entry = "import { main } from './src/main.ts'; await main(process.argv.slice(1));";
  return ["--import", "tsx", "--input-type=module", "--eval", entry, "--", ...args];
}
