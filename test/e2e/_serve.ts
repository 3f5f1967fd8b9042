import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

export const root = new URL("../../", import.meta.url).pathname;
/** Made by npm test, with what test/requirements.txt names. */
export const python = join(root, "test/.venv/bin/python");

/** A repository in a temporary folder, filled by the command line as a user would. */
export interface Workplace {
  readonly folder: string;
  readonly repository: string;
  writeModel(name: string, settings?: object): Promise<void>;
  /** `crosscheck compile`, without the file and the repository. */
  compile(onnx: string, model: string, ...args: readonly string[]): Promise<void>;
  remove(): Promise<void>;
}

export async function openWorkplace(): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), "crosscheck-e2e-"));
  const repository = join(folder, "models");
  await mkdir(repository);
  return {
    folder,
    repository,
    async writeModel(name, settings = {}) {
      await mkdir(join(repository, name), { recursive: true });
      await writeFile(join(repository, name, "model.yaml"), JSON.stringify({ name, ...settings }));
    },
    async compile(onnx, model, ...args) {
      const { code, stdout, stderr } = await crosscheck([
        "compile",
        onnx,
        "--model",
        model,
        "--repository",
        repository,
        ...args,
      ]);
      if (code !== 0) throw new Error(`compile ended with ${code}:\n${stdout}${stderr}`);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** One command of the command line, to its end. */
export async function crosscheck(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const options = { cwd: root, env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 };
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, commandLine(args), options);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** `crosscheck serve` in a process of its own. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  /** Everything it has written so far. */
  said(): string;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with exit code or signal. */
  ended: Promise<number | NodeJS.Signals>;
  /** SIGTERM, and its exit code. */
  stop(): Promise<number | NodeJS.Signals>;
}

/** @throws Error with what it said when it ends before it is ready. */
export async function serve(
  place: Pick<Workplace, "folder" | "repository">,
  env: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const child = spawn(
    process.execPath,
    commandLine(["serve", "--port", "0", "--repository", place.repository]),
    {
      cwd: root,
      env: { ...process.env, CROSSCHECK_STORE_PATH: join(place.folder, "var"), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  const ended = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (data: Buffer): void => {
      said += data.toString();
      const [, address] = /listens on (\S+);/.exec(said) ?? [];
      if (address !== undefined && said.includes("Ready after")) resolve(address);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    void ended.then((how) => reject(new Error(`serve ended with ${how}:\n${said}`)));
  });
  return {
    url,
    pid: child.pid as number,
    said: () => said,
    kill: (signal) => void child.kill(signal),
    ended,
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

function commandLine(args: readonly string[]): string[] {
  const entry = "import { main } from './src/main.ts'; await main(process.argv.slice(1));";
  return ["--import", "tsx", "--input-type=module", "--eval", entry, "--", ...args];
}

/** A float32 array as V2's binary extension carries it. */
export interface Floats {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What POST .../infer in binary, both ways, consists of. */
export function inferRequest(
  inputs: readonly Floats[],
  fields: { readonly id?: string; readonly engine?: string } = {},
): { headers: Record<string, string>; body: Buffer<ArrayBuffer> } {
  const head = Buffer.from(
    JSON.stringify({
      ...(fields.id === undefined ? {} : { id: fields.id }),
      inputs: inputs.map(({ name, shape, values }) => ({
        name,
        shape,
        datatype: "FP32",
        parameters: { binary_data_size: values.byteLength },
      })),
      parameters: {
        binary_data_output: true,
        ...(fields.engine === undefined ? {} : { engine: fields.engine }),
      },
    }),
  );
  const bodies = inputs.map(({ values }) => Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  const headers = {
    "content-type": "application/octet-stream",
    "inference-header-content-length": String(head.length),
  };
  return { headers, body: Buffer.concat([head, ...bodies]) };
}

export async function infer(
  url: string,
  model: string,
  inputs: readonly Floats[],
  fields: { readonly id?: string; readonly engine?: string } = {},
): Promise<{ status: number; error: string | undefined; engine: string | null; outputs: Floats[] }> {
  const reply = await fetch(`${url}/v2/models/${model}/infer`, {
    method: "POST",
    ...inferRequest(inputs, fields),
  });
  const engine = reply.headers.get("crosscheck-engine");
  const bytes = new Uint8Array(await reply.arrayBuffer());
  const headLength = Number(reply.headers.get("inference-header-content-length") ?? bytes.length);
  const answer = JSON.parse(Buffer.from(bytes.subarray(0, headLength)).toString()) as {
    error?: string;
    outputs?: { name: string; shape: number[]; parameters: { binary_data_size: number } }[];
  };
  let at = headLength;
  const outputs = (answer.outputs ?? []).map(({ name, shape, parameters }) => {
    const data = bytes.slice(at, (at += parameters.binary_data_size));
    return { name, shape, values: new Float32Array(data.buffer) };
  });
  return { status: reply.status, error: answer.error, engine, outputs };
}

/** A control route's answer; throws what it says when it refuses. */
export async function control<T>(url: string, path: string, body?: object): Promise<T> {
  const reply = await fetch(url + path, {
    ...(body ? { method: "POST", body: JSON.stringify(body) } : {}),
    headers: { "content-type": "application/json" },
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`${path}: ${reply.status} ${text}`);
  return JSON.parse(text) as T;
}

/** Values of one metric: its labels and its value. */
export async function metric(
  url: string,
  name: string,
): Promise<{ labels: Record<string, string>; value: number }[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text.split("\n").flatMap((line) => {
    const match = /^(\w+)\{(.*)\} (\S+)$/.exec(line);
    if (match?.[1] !== `crosscheck_${name}`) return [];
    const labels = [...(match[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    return [
      {
        labels: Object.fromEntries(labels.map(([, key, value]) => [key as string, value as string])),
        value: Number(match[3]),
      },
    ];
  });
}
