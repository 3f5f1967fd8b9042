import { GatewayError } from "../core/errors.ts";
import { byteSize, elementCount, type Tensor, type TensorSpec, typedView } from "../core/tensor.ts";
import type { ModelConfig } from "./manifest.ts";
import type { NpyArray } from "./npy.ts";
import type { Npz } from "./npz.ts";

/** Inputs for an engine, sample by sample, out of an .npz file. */
export interface Samples {
  readonly count: number;
  /** Class numbers from an array `labels`, where there is one. */
  readonly labels: readonly number[] | undefined;
  /** The tensors of one sample in the model's order, ready for an engine. */
  at(index: number): Tensor[];
}

/**
 * Fits an .npz (one array per input name, first axis the sample) to a model's inputs. A sample gets a leading
 * dimension of 1 where the input has one more than it. UINT8 arrays for FP32 inputs are pixels: `preprocess` gives
 * (pixel - mean) * scale, per channel where it has lists, as model.yaml says.
 *
 * @throws GatewayError `invalid` naming the array, what it is and what the model takes.
 */
export function fitSamples(
  npz: Npz,
  specs: readonly TensorSpec[],
  preprocess: ModelConfig["preprocess"],
  name: string,
): Samples {
  const arrays = specs.map((spec) => {
    const array = npz.get(spec.name);
    return { spec, array, shape: sampleShape(array, spec, name) };
  });
  const counts = new Set(arrays.map(({ array }) => array.shape[0] ?? 0));
  const [count = 0] = counts;
  if (counts.size > 1) {
    const each = arrays.map(({ spec, array }) => `${spec.name} ${array.shape[0]}`).join(", ");
    throw new GatewayError("invalid", `${name}: the arrays hold different numbers of samples: ${each}`);
  }
  if (count === 0) throw new GatewayError("invalid", `${name}: holds no sample; give at least one`);
  return {
    count,
    labels: npz.has("labels") ? readLabels(npz.get("labels"), count, name) : undefined,
    at: (index) =>
      arrays.map(({ spec, array, shape }) => ({
        name: spec.name,
        datatype: spec.datatype,
        shape,
        data: convert(slice(array, index), array, spec, preprocess, name),
      })),
  };
}

function sampleShape(array: NpyArray, spec: TensorSpec, name: string): readonly number[] {
  const own = array.shape.slice(1);
  const shape = own.length === spec.shape.length - 1 ? [1, ...own] : own;
  const fits =
    array.shape.length > 0 &&
    shape.length === spec.shape.length &&
    spec.shape.every((size, axis) => size === -1 || size === shape[axis]);
  if (fits) return shape;
  throw new GatewayError(
    "invalid",
    `${name}: array "${spec.name}" has shape [${array.shape.join(", ")}], first the samples; ` +
      `the model takes [${spec.shape.join(", ")}]`,
  );
}

function slice(array: NpyArray, index: number): Uint8Array {
  const bytes = byteSize(array.datatype, array.shape.slice(1));
  return array.data.subarray(index * bytes, (index + 1) * bytes);
}

function convert(
  data: Uint8Array,
  array: NpyArray,
  spec: TensorSpec,
  preprocess: ModelConfig["preprocess"],
  name: string,
): Uint8Array {
  if (array.datatype === spec.datatype) return data;
  if (spec.datatype !== "FP32" || (array.datatype !== "UINT8" && array.datatype !== "FP64")) {
    throw new GatewayError(
      "invalid",
      `${name}: array "${spec.name}" is ${array.datatype}, the model takes ${spec.datatype}; convert it when it is saved`,
    );
  }
  const values = typedView(array.datatype, data) as Uint8Array | Float64Array;
  const result = new Float32Array(values.length);
  if (array.datatype === "FP64") result.set(values);
  else if (preprocess === undefined) {
    // Pixels of 0..255 in a model made for 0..1 would run, and say nothing true.
    throw new GatewayError(
      "invalid",
      `${name}: array "${spec.name}" holds UINT8 pixels, the model takes FP32; say in model.yaml how they become ` +
        "numbers, such as preprocess: { size: [48, 48], scale: 0.00392 }, or save FP32 values",
    );
  } else {
    const plane = preprocess.layout === "nchw" ? elementCount(array.shape.slice(-2)) : 1;
    const channels = (preprocess.layout === "nchw" ? array.shape.at(-3) : array.shape.at(-1)) ?? 1;
    const means = perChannel(preprocess.mean, channels, "mean");
    const scales = perChannel(preprocess.scale, channels, "scale");
    for (let i = 0; i < values.length; i += 1) {
      const channel = Math.floor(i / plane) % channels;
      result[i] = ((values[i] as number) - (means[channel] as number)) * (scales[channel] as number);
    }
  }
  return new Uint8Array(result.buffer);
}

function perChannel(value: number | readonly number[], channels: number, key: string): readonly number[] {
  if (typeof value === "number") return Array.from({ length: channels }, () => value);
  if (value.length === channels) return value;
  throw new GatewayError(
    "invalid",
    `preprocess.${key} of model.yaml has ${value.length} values, the input ${channels} channels; give one or ${channels}`,
  );
}

function readLabels(array: NpyArray, count: number, name: string): readonly number[] {
  if (array.shape.length !== 1 || array.shape[0] !== count) {
    throw new GatewayError(
      "invalid",
      `${name}: labels has shape [${array.shape.join(", ")}], not [${count}]`,
    );
  }
  return Array.from(typedView(array.datatype, array.data), Number);
}
