import type { TensorSpec } from "../core/tensor.ts";

/**
 * The JSON bodies of V2's metadata and of Triton's configuration, statistics and repository extensions, with the
 * fields that tritonclient and perf_analyzer read. The only version is "1".
 */
export const modelVersion = "1";

const serverExtensions = [
  "classification",
  "model_repository",
  "model_repository(unload_dependents)",
  "model_configuration",
  "binary_tensor_data",
  "parameters",
  "statistics",
] as const;

export function serverMetadata(version: string): object {
  return { name: "crosscheck", version, extensions: serverExtensions };
}

export interface DescribedModel {
  readonly name: string;
  readonly compiler: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly instances: number;
  readonly device: "cpu" | "gpu";
}

export function modelMetadata(model: DescribedModel): object {
  const tensor = ({ name, datatype, shape }: TensorSpec): object => ({ name, datatype, shape });
  return {
    name: model.name,
    versions: [modelVersion],
    platform: `crosscheck_${model.compiler}`,
    inputs: model.inputs.map(tensor),
    outputs: model.outputs.map(tensor),
  };
}

/** Triton's ModelConfig message in JSON; max_batch_size 0 says that the shapes are complete as they stand. */
export function modelConfig(model: DescribedModel): object {
  const dataType = ({ datatype }: TensorSpec): string => `TYPE_${datatype}`;
  return {
    name: model.name,
    platform: `crosscheck_${model.compiler}`,
    backend: model.compiler,
    runtime: "",
    version_policy: { latest: { num_versions: 1 } },
    max_batch_size: 0,
    input: model.inputs.map((spec) => ({
      name: spec.name,
      data_type: dataType(spec),
      format: "FORMAT_NONE",
      dims: spec.shape,
      is_shape_tensor: false,
      allow_ragged_batch: false,
      optional: false,
    })),
    output: model.outputs.map((spec) => ({
      name: spec.name,
      data_type: dataType(spec),
      dims: spec.shape,
      label_filename: "",
      is_shape_tensor: false,
    })),
    batch_input: [],
    batch_output: [],
    instance_group: [
      {
        name: model.name,
        kind: model.device === "gpu" ? "KIND_GPU" : "KIND_CPU",
        count: model.instances,
        gpus: [],
        profile: [],
        passive: false,
      },
    ],
    default_model_filename: "model.onnx",
    cc_model_filenames: {},
    metric_tags: {},
    parameters: {},
    model_warmup: [],
    model_transaction_policy: { decoupled: false },
  };
}

interface Duration {
  readonly count: number;
  readonly seconds: number;
}

export interface CountedModel {
  readonly name: string;
  readonly lastInferenceMs: number;
  readonly success: Duration;
  readonly fail: Duration;
  readonly queue: Duration;
  readonly computeInput: Duration;
  readonly computeInfer: Duration;
  readonly computeOutput: Duration;
}

/** No batching: every execution is one request. */
export function modelStatistics(models: readonly CountedModel[]): object {
  const leaf = ({ count, seconds }: Duration): object => ({ count, ns: Math.round(seconds * 1e9) });
  return {
    model_stats: models.map((model) => ({
      name: model.name,
      version: modelVersion,
      last_inference: model.lastInferenceMs,
      inference_count: model.success.count,
      execution_count: model.success.count,
      inference_stats: {
        success: leaf(model.success),
        fail: leaf(model.fail),
        queue: leaf(model.queue),
        compute_input: leaf(model.computeInput),
        compute_infer: leaf(model.computeInfer),
        compute_output: leaf(model.computeOutput),
        cache_hit: { count: 0, ns: 0 },
        cache_miss: { count: 0, ns: 0 },
      },
      response_stats: {},
      batch_stats:
        model.success.count === 0
          ? []
          : [
              {
                batch_size: 1,
                compute_input: leaf(model.computeInput),
                compute_infer: leaf(model.computeInfer),
                compute_output: leaf(model.computeOutput),
              },
            ],
      memory_usage: [],
    })),
  };
}

export function repositoryIndex(
  models: readonly { readonly name: string; readonly state: string; readonly reason: string }[],
): object {
  return models.map(({ name, state, reason }) => ({ name, version: modelVersion, state, reason }));
}
