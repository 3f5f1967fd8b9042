import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { idPlace, prepareRequest, type PreparedRequest } from "./http-client.ts";
import { root } from "./gateway.ts";

/** A model that benches load: one FP32 input. */
export interface BenchModel {
  readonly name: string;
  readonly onnx: string;
  readonly input: { readonly name: string; readonly shape: readonly number[] };
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
export function inputValues({ input }: BenchModel): Float32Array {
  const count = input.shape.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length: count }, (_, i) => (Math.sin(i) + 1) / 2);
}

/** An infer request with binary tensors both ways. */
export function binaryRequest(model: BenchModel): PreparedRequest {
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

function inferPath({ name }: BenchModel): string {
  return `/v2/models/${name}/infer`;
}

/** The first build's artifact in a repository. */
export function artifactOf(repository: string, { name }: BenchModel): string {
  return join(repository, name, "engines/onnxruntime-1/model.onnx");
}
