import type { Datatype } from "../core/tensor.ts";
import type { ModelConfig, Task, Tolerance } from "../models/manifest.ts";

/** What comparing needs of a model; plain data, so that it can be posted to a worker. Words of model.yaml. */
export interface CompareOptions {
  readonly task: Task;
  readonly tolerance?: Tolerance | undefined;
  readonly detection?: DetectionOptions | undefined;
  /** k of the top-k flips; default 5. */
  readonly topK?: number | undefined;
  /** Share of pixels that may change before a segmentation counts as another decision; default 0.01. */
  readonly pixelFlipRatio?: number | undefined;
}

export type DetectionOptions = NonNullable<ModelConfig["detection"]>;

/** When an element counts as different, and how alike the whole must be. */
export interface Limits {
  readonly abs: number;
  readonly rel: number;
  readonly cosine: number | undefined;
  readonly rule: "polygraphy" | "numpy";
}

/**
 * The limits of one output: its own words before the model's, before what its datatype can hold. Whole numbers must be
 * equal unless the output's own words say otherwise: a model's abs and rel are meant for its floats, and a class or
 * an index that is off by a thousandth of itself is another one.
 */
export function limitsOf(output: string, datatype: Datatype, tolerance: Tolerance | undefined): Limits {
  const own = tolerance?.outputs?.[output];
  const precision = defaultLimits[datatype];
  const model = precision === undefined ? undefined : tolerance;
  return {
    abs: own?.abs ?? model?.abs ?? precision ?? 0,
    rel: own?.rel ?? model?.rel ?? precision ?? 0,
    cosine: own?.cosine ?? tolerance?.cosine,
    rule: own?.rule ?? tolerance?.rule ?? "polygraphy",
  };
}

/** Both abs and rel, where model.yaml says nothing; whole numbers have none. */
const defaultLimits: Partial<Record<Datatype, number>> = { FP64: 1e-3, FP32: 1e-3, FP16: 1e-2, BF16: 5e-2 };
