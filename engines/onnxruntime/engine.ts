import fs from "node:fs";
import os from "node:os";
import { env, InferenceSession, Tensor } from "onnxruntime-node";
import type { EngineInfo } from "../../src/core/engine.ts";
import type { Datatype, TensorSpec, TypedArray } from "../../src/core/tensor.ts";
import type { OptimizationLevel } from "./job.ts";
import type { HostCall, HostTensor } from "../../src/hosting/host-call.ts";
import { LoadFailed, type HostedEngine, type LoadJob } from "../../src/hosting/hosted-engine.ts";

/** What is bound to a slot: runtime tensors on the shared memory. A null fetch lets the runtime choose the shape. */
interface Bound {
  readonly feeds: Record<string, Tensor>;
  readonly fetches: Record<string, Tensor | null>;
}

const datatypeByOrtType: Readonly<Record<string, Datatype>> = {
  bool: "BOOL",
  uint8: "UINT8",
  uint16: "UINT16",
  uint32: "UINT32",
  uint64: "UINT64",
  int8: "INT8",
  int16: "INT16",
  int32: "INT32",
  int64: "INT64",
  float16: "FP16",
  float32: "FP32",
  float64: "FP64",
};
const ortTypeByDatatype = new Map(
  Object.entries(datatypeByOrtType).map(([ort, datatype]) => [datatype, ort]),
);

/**
 * onnxruntime-node holds every Float16Array, which JavaScript has from Node 24 on, for empty (microsoft/onnxruntime pull
 * request 32323). Where there is none when the first tensor is made, float16 stays with Uint16Array.
 */
function keepFloat16Bits(): void {
  const known = Object.getOwnPropertyDescriptor(globalThis, "Float16Array");
  Reflect.deleteProperty(globalThis, "Float16Array");
  void new Tensor("uint8", [0]);
  if (known) Object.defineProperty(globalThis, "Float16Array", known);
}
keepFloat16Bits();

/** An ONNX or ORT file, run by onnxruntime-node on the memory that the call lies in. */
export async function load(job: LoadJob): Promise<HostedEngine<Bound>> {
  // Warnings are about the model's style (initializers listed as inputs, one line each), not about this run.
  env.logLevel = "error";
  const session = await createSession(job);
  const info: EngineInfo = {
    runtime: { name: "onnxruntime", version: env.versions.node ?? "unknown" },
    device: deviceOf(job),
    inputs: session.inputMetadata.map(toSpec),
    outputs: session.outputMetadata.map(toSpec),
  };
  return {
    info,
    async infer(call) {
      const { feeds, fetches } = (call.bound ??= bind(call));
      const begin = process.hrtime.bigint();
      const results = await session.run(feeds, fetches);
      const engineNanoseconds = Number(process.hrtime.bigint() - begin);
      for (const output of call.outputs) {
        if (fetches[output.spec.name] !== null) continue;
        const result = results[output.spec.name] as Tensor;
        copyInto(output.resize(result.dims), result.data as TypedArray);
      }
      return { engineNanoseconds };
    },
    close: () => session.release(),
  };
}

/** The host's own processor, or the device that the engine was compiled for. */
function deviceOf({ manifest }: LoadJob): EngineInfo["device"] {
  const { device } = manifest as { readonly device?: EngineInfo["device"] };
  if (device === undefined || device.kind === "cpu") {
    return { kind: "cpu", name: os.cpus()[0]?.model ?? "cpu" };
  }
  return { kind: device.kind, name: device.name };
}

async function createSession(job: LoadJob): Promise<InferenceSession> {
  const options = (job.manifest["options"] ?? {}) as Record<string, unknown>;
  const provider = options["executionProvider"];
  try {
    // From bytes: a path under /proc has no suffix to tell an ORT file from an ONNX file by.
    return await InferenceSession.create(fs.readFileSync(job.artifact), {
      intraOpNumThreads: job.threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      graphOptimizationLevel: levelAtLoad(options),
      executionProviders: [typeof provider === "string" ? provider : "cpu"],
      // Waiting threads that spin take the processor from the gateway and from other hosts: on two busy cores slim-320
      // with two threads took 19 ms at p50 spinning and 7 ms not, and twice the processor time.
      extra: { session: { intra_op: { allow_spinning: "0" } } },
    });
  } catch (error) {
    throw new LoadFailed(
      `onnxruntime cannot load it: ${error instanceof Error ? error.message : String(error)}`,
      "compile the model again with this version of Crosscheck",
      { cause: error },
    );
  }
}

function toSpec(metadata: InferenceSession.ValueMetadata): TensorSpec {
  if (!metadata.isTensor)
    throw new LoadFailed(`"${metadata.name}" is not a tensor`, "export the model with tensors only");
  const datatype = datatypeByOrtType[metadata.type];
  if (datatype === undefined) {
    throw new LoadFailed(
      `"${metadata.name}" holds ${metadata.type}, which onnxruntime-node does not exchange`,
      "cast it to a numeric type in the model",
    );
  }
  return {
    name: metadata.name,
    datatype,
    shape: metadata.shape.map((dimension) => (typeof dimension === "number" ? dimension : -1)),
  };
}

function bind(call: HostCall<Bound>): Bound {
  const feeds: Bound["feeds"] = {};
  for (const { spec, shape, data } of call.inputs) feeds[spec.name] = onSharedMemory(spec, shape, data);
  const fetches: Bound["fetches"] = {};
  for (const { spec, shape, resize } of call.outputs) {
    fetches[spec.name] =
      shape !== undefined && spec.shape.every((dimension) => dimension >= 0)
        ? onSharedMemory(spec, shape, resize(shape))
        : null;
  }
  return { feeds, fetches };
}

function onSharedMemory(spec: TensorSpec, shape: readonly number[], data: HostTensor["data"]): Tensor {
  const type = ortTypeByDatatype.get(spec.datatype) as "float32";
  return new Tensor(type, data as Float32Array, shape);
}

/** By bytes: whatever kind of array a datatype comes in, only the bits matter. */
function copyInto(target: TypedArray, source: TypedArray): void {
  bytesOf(target).set(bytesOf(source));
}

function bytesOf({ buffer, byteOffset, byteLength }: TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/**
 * For the CPU the compiler has rewritten the graph as its option said, and what it made is what runs. Other providers
 * choose their kernels now: their artifact holds portable rewrites only (README.md). A file of other origin gets all.
 */
function levelAtLoad(options: Record<string, unknown>): OptimizationLevel {
  const level = options["graphOptimizationLevel"] as OptimizationLevel | undefined;
  const onCpu = (options["executionProvider"] ?? "cpu") === "cpu";
  return level === undefined ? "all" : onCpu ? "disabled" : level;
}
