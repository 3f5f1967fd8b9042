import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readFamilies } from "../../src/building/families.ts";
import { configSchema } from "../../src/config.ts";
import { Cancellation } from "../../src/core/cancellation.ts";
import { type Log, silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { createGateway, type Gateway } from "../../src/gateway.ts";
import type { Services } from "../../src/http/services.ts";

type InferenceReply = Awaited<ReturnType<Services["inference"]["infer"]>>;

/** A whole gateway in this process over engines whose faults are known (package/engines/scripted). */
export interface Scene {
  readonly folder: string;
  readonly services: Services;
  readonly gateway: Gateway;
  readonly infer: (
    model: string,
    options?: { id?: string; x?: readonly number[]; engine?: string; timeoutMs?: number },
  ) => Promise<InferenceReply>;
  readonly active: (model: string) => Promise<string>;
  readonly engine: (
    model: string,
    id: string,
  ) => Promise<{ state: string; reason: string | null; role: string }>;
  readonly decisions: () => Promise<readonly Entry[]>;
  /** Closes the gateway; the folder stays for another one. */
  readonly stop: () => Promise<void>;
  /** Closes and removes everything. */
  readonly end: () => Promise<void>;
}

export interface Entry {
  readonly seq: number;
  readonly type: string;
  readonly model: string;
  readonly from: string | null;
  readonly to: string | null;
  readonly trigger: string;
  readonly reason: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export interface ScriptedEngine {
  readonly sleepMicroseconds?: number;
  readonly fault?: string;
  readonly rate?: number;
}

const root = fileURLToPath(new URL("package", import.meta.url));

export async function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), "crosscheck-gateway-"));
}

/** Writes a model of scripted engines; `settings` are keys of model.yaml. */
export async function writeModel(
  folder: string,
  name: string,
  engines: Readonly<Record<string, ScriptedEngine>>,
  settings: object = {},
): Promise<void> {
  const directory = join(folder, "models", name);
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "model.onnx"), "no network at all");
  await writeFile(join(directory, "model.yaml"), JSON.stringify({ name, ...settings }));
  for (const [id, options] of Object.entries(engines)) await writeEngine(folder, name, id, options);
}

/** Settings of a model whose engine `good` serves and is what the others are measured by, with one rule alone. */
export function judgedBy(rule: string, policy: object): object {
  return {
    task: "classification",
    reference: "good",
    active: "good",
    shadow: { maxUtilization: 1 },
    policy: { ...policy, rules: [{ rule }] },
  };
}

export async function writeEngine(
  folder: string,
  model: string,
  id: string,
  options: ScriptedEngine,
): Promise<void> {
  const directory = join(folder, "models", model, "engines", id);
  await mkdir(directory, { recursive: true });
  const content = `${model}/${id} ${JSON.stringify(options)}`;
  await writeFile(join(directory, "artifact.bin"), content);
  const digest = (text: string) => createHash("sha256").update(text).digest("hex");
  const manifest = {
    schema: 1,
    id,
    model,
    compiler: { name: "scripted", version: "1" },
    build: 1,
    precision: "fp32",
    target: null,
    device: { kind: "cpu", name: "test" },
    threads: 1,
    options,
    seed: null,
    source: { file: "model.onnx", sha256: digest("no network at all") },
    artifact: { file: "artifact.bin", sha256: digest(content) },
    tuningLog: null,
    timingCache: null,
    fingerprint: digest(content),
    buildSeconds: 0,
    builtAt: "2026-01-01T00:00:00Z",
  };
  await writeFile(join(directory, "engine.yaml"), JSON.stringify(manifest));
}

export async function openGateway(
  folder: string,
  settings: object = {},
  log: Log = silentLog,
): Promise<Gateway> {
  const config = configSchema.parse({
    repository: join(folder, "models"),
    store: { path: join(folder, "var") },
    ...settings,
  });
  const families = await readFamilies({ root, environment: process.env });
  return createGateway({ config, families, version: "test", log });
}

/** Tells only what holds up an end, since a hook that times out tells nothing. */
const endLog: Log = {
  ...silentLog,
  warn: (fields, message) => message.startsWith("stopping") && console.error(message, fields),
  child: () => endLog,
};

export async function openScene(folder: string, settings: object = {}, log: Log = endLog): Promise<Scene> {
  const gateway = await openGateway(folder, settings, log);
  await gateway.start();
  const { services } = gateway;
  let stopped: Promise<void> | undefined;
  let ids = 0;
  const engines = async (model: string) => {
    const list = await services.engines?.list(model);
    if (!list) throw new Error("the gateway has no engines service");
    return list;
  };
  const scene: Scene = {
    folder,
    services,
    gateway,
    async infer(model, { id = `r${ids++}`, x = [Math.random(), 0.2, 0.3, 0.4], engine, timeoutMs } = {}) {
      await services.inference.resolve(model);
      return services.inference.infer(model, {
        id,
        inputs: [input(x)],
        outputs: undefined,
        pinnedEngine: engine,
        timeoutMs,
        cancellation: new Cancellation(),
        receivedSeconds: performance.now() / 1000,
      });
    },
    active: async (model) => (await engines(model)).active,
    async engine(model, id) {
      const found = (await engines(model)).engines.find((each) => each.id === id);
      if (!found) throw new Error(`${model} has no engine ${id}`);
      return found;
    },
    decisions: async () => (await services.log?.read(0, 10_000))?.entries as Entry[],
    stop: () => (stopped ??= gateway.close()),
    async end() {
      await scene.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return scene;
}

function input(x: readonly number[]): Tensor {
  return { name: "x", datatype: "FP32", shape: [1, 4], data: new Uint8Array(Float32Array.from(x).buffer) };
}

export function numbers(tensor: Tensor | undefined): number[] {
  return Array.from(new Float32Array((tensor?.data ?? new Uint8Array()).slice().buffer));
}
