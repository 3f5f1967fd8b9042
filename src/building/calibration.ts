import { join } from "node:path";
import { GatewayError } from "../core/errors.ts";
import type { Tensor, TensorSpec } from "../core/tensor.ts";
import type { OnnxFacts } from "../models/onnx.ts";
import type { NpyArray } from "../models/npy.ts";
import { readNpz, writeNpz } from "../models/npz.ts";
import { fitSamples, type Samples } from "../models/samples.ts";
import type { ModelPlace } from "./model-folder.ts";

/** Enough for stable ranges; entropy calibration's time and memory grow with it. */
const mostSamples = 200;

/**
 * The samples that belong to a model: `inputs` when given, else `samples.clean` of its model.yaml; undefined when
 * there are none.
 *
 * @throws GatewayError when they cannot be read or do not fit the model.
 */
export async function openSamples(
  place: Pick<ModelPlace, "directory" | "config">,
  specs: readonly TensorSpec[],
  inputs: string | undefined,
): Promise<Samples | undefined> {
  const own = place.config.samples?.clean;
  const path = inputs ?? (own === undefined ? undefined : join(place.directory, own));
  if (path === undefined) return undefined;
  return fitSamples(await readNpz(path), specs, place.config.preprocess, path);
}

/** Writes the .npz that a compile program calibrates from: FP32 samples, evenly chosen, first axis the sample. */
export async function writeCalibration(path: string, samples: Samples): Promise<void> {
  const indexes = evenly(samples.count, mostSamples);
  const columns = new Map<string, Tensor[]>();
  for (const index of indexes) {
    for (const tensor of samples.at(index)) {
      const column = columns.get(tensor.name);
      if (column === undefined) columns.set(tensor.name, [tensor]);
      else column.push(tensor);
    }
  }
  await writeNpz(path, new Map([...columns].map(([name, tensors]) => [name, stack(tensors)])));
}

/** The interface that a model's file declares, as far as engines exchange it. @throws GatewayError `invalid`. */
export function inputSpecs(facts: OnnxFacts, name: string): readonly TensorSpec[] {
  return facts.inputs.map(({ name: input, datatype, shape }) => {
    if (datatype !== undefined && shape !== undefined) return { name: input, datatype, shape };
    const why = datatype === undefined ? "is of a type that engines do not take" : "has no declared rank";
    throw new GatewayError(
      "invalid",
      `${name}: input "${input}" ${why}; export the model with numeric tensors of known rank`,
    );
  });
}

/** `most` of the indexes below `count`, spread evenly, in order. */
export function evenly(count: number, most: number): number[] {
  const taken = Math.min(count, most);
  return Array.from({ length: taken }, (_, i) => Math.floor((i * count) / taken));
}

/** Samples of shape [1, ...] become rows; others get a new first axis. */
function stack(tensors: readonly Tensor[]): NpyArray {
  const [first] = tensors;
  if (first === undefined) throw new Error("nothing to stack");
  const row = first.shape[0] === 1 ? first.shape.slice(1) : first.shape;
  const data = Buffer.concat(tensors.map((tensor) => tensor.data));
  return { datatype: first.datatype, shape: [tensors.length, ...row], data };
}
