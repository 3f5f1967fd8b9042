import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { parse, stringify } from "yaml";
import { idPlace, prepareRequest, type PreparedRequest } from "./http-client.ts";
import { root } from "./gateway.ts";

/** A model that benches load: one FP32 input. */
export interface ServedModel {
  readonly name: string;
  readonly input: { readonly name: string; readonly shape: readonly number[] };
}

export interface BenchModel extends ServedModel {
  readonly onnx: string;
}

export const demo: BenchModel = {
  name: "traffic-signs",
  onnx: join(root, "models/traffic-signs/model.onnx"),
  input: { name: "image", shape: [1, 3, 48, 48] },
};

/** UltraFace, which is not part of the repository. */
export const slim: BenchModel = {
  name: "slim-320",
  onnx: join(root, "../shared/data/ultraface/slim-320.onnx"),
  input: { name: "input", shape: [1, 3, 240, 320] },
};

/** Three builds of each model: graph optimisation all, basic and extended. */
const levels = ["all", "basic", "extended"];

/**
 * A repository in a new folder with these models and the first `engines` builds of each; compiled once and kept in
 * bench/out. `settings` are further lines of model.yaml.
 */
export async function makeRepository(
  models: readonly BenchModel[],
  { engines, settings }: { readonly engines: number; readonly settings: readonly string[] },
): Promise<{ readonly path: string; remove(): void }> {
  const built = join(root, "bench/out/models");
  mkdirSync(built, { recursive: true });
  const path = mkdtempSync(join(root, "bench/out/repository-"));
  for (const { name, onnx } of models) {
    for (const [at, level] of levels.slice(0, engines).entries()) {
      if (existsSync(join(built, name, "engines", `onnxruntime-${at + 1}`, "engine.yaml"))) continue;
      const options = ["--repository", built, "--option", `graphOptimizationLevel=${level}`];
      const compile = ["compile", onnx, "--model", name, "--compiler", "onnxruntime", ...options];
      await promisify(execFile)(process.execPath, [join(root, "bin/crosscheck.mjs"), ...compile]);
    }
    const folder = join(path, name);
    mkdirSync(folder, { recursive: true });
    cpSync(onnx, join(folder, "model.onnx"));
    const yaml = [`name: ${name}`, `task: ${name === demo.name ? "classification" : "tensor"}`, ...settings];
    writeFileSync(join(folder, "model.yaml"), `${yaml.join("\n")}\n`);
    for (let n = 1; n <= engines; n += 1)
      cpSync(join(built, name, `engines/onnxruntime-${n}`), join(folder, `engines/onnxruntime-${n}`), {
        recursive: true,
      });
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Values as of a picture, the same for the same model. */
export function inputValues({ input }: ServedModel): Float32Array {
  const count = input.shape.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length: count }, (_, i) => (Math.sin(i) + 1) / 2);
}

/**
 * A repository in a new folder with these engines of a model that stands in another one. They need not run on this
 * machine's processors: it is how engines on a GPU are measured. `settings` are instead of what model.yaml says.
 * @throws Error when an engine is not there
 */
export function copyModel(
  folder: string,
  { engines, settings }: { readonly engines: readonly string[]; readonly settings: object },
): { readonly path: string; remove(): void } {
  const at = mkdtempSync(join(root, "bench/out/repository-"));
  const copy = join(at, basename(folder));
  for (const part of ["model.onnx", ...engines.map((id) => `engines/${id}`)])
    cpSync(join(folder, part), join(copy, part), { recursive: true });
  const config = parse(readFileSync(join(folder, "model.yaml"), "utf8")) as object;
  // Its samples stay where they are.
  writeFileSync(join(copy, "model.yaml"), stringify({ ...config, samples: undefined, ...settings }));
  return { path: at, remove: () => rmSync(at, { recursive: true, force: true }) };
}

/** What a gateway says of a model's one input. @throws Error when there are more, or other values than FP32 */
export async function modelServedAt(port: number, name: string): Promise<ServedModel> {
  const response = await fetch(`http://127.0.0.1:${port}/v2/models/${name}`);
  if (!response.ok) throw new Error(`model "${name}": ${response.status} ${await response.text()}`);
  const { inputs } = (await response.json()) as {
    inputs: { name: string; datatype: string; shape: number[] }[];
  };
  const [input] = inputs;
  if (!input || inputs.length > 1 || input.datatype !== "FP32")
    throw new Error(`${name} has inputs ${JSON.stringify(inputs)}: the bench sends one FP32 tensor`);
  // A batch of one.
  return { name, input: { name: input.name, shape: input.shape.map((size) => Math.max(1, size)) } };
}

/** An infer request with binary tensors both ways. */
export function binaryRequest(model: ServedModel): PreparedRequest {
  const values = inputValues(model);
  const { name, shape } = model.input;
  const input = `{"name":"${name}","datatype":"FP32","shape":[${shape.join(",")}],"parameters":{"binary_data_size":${values.byteLength}}}`;
  const json = `{${idPlace},"inputs":[${input}],"parameters":{"binary_data_output":true}}`;
  return prepareRequest(inferPath(model), json, new Uint8Array(values.buffer));
}

/** The same in JSON: flat data, numbers of at most seven digits, as clients print FP32. */
export function jsonRequest(model: BenchModel): PreparedRequest {
  const { name, shape } = model.input;
  const data = Array.from(inputValues(model), (value) => Number(value.toPrecision(7)));
  const input = JSON.stringify({ name, datatype: "FP32", shape, data });
  return prepareRequest(inferPath(model), `{${idPlace},"inputs":[${input}]}`);
}

function inferPath({ name }: ServedModel): string {
  return `/v2/models/${name}/infer`;
}

/** The first build's artifact in a repository. */
export function artifactOf(repository: string, { name }: BenchModel): string {
  return join(repository, name, "engines/onnxruntime-1/model.onnx");
}
