import type { Tensor } from "../core/tensor.ts";
import type { Task } from "../models/manifest.ts";
import { compareClasses } from "./classification.ts";
import { compareDetections } from "./detection.ts";
import type { Difference, OutputDifference } from "./difference.ts";
import { limitsOf, type CompareOptions, type Limits } from "./options.ts";
import { compareOutput } from "./output.ts";
import { compareSegments } from "./segmentation.ts";

/**
 * How a candidate's outputs differ from the reference's on the same input. Outputs are paired by name, so that right
 * values under the wrong name are found. Pure; uses scratch memory of its thread and keeps nothing.
 */
export function compareOutputs(
  reference: readonly Tensor[],
  candidate: readonly Tensor[],
  options: CompareOptions,
): Difference {
  const mismatch = structuralMismatch(reference, candidate);
  if (mismatch !== undefined)
    return { result: "invalid", reason: mismatch, flip: decides(options.task), outputs: [] };

  const outputs: OutputDifference[] = [];
  let diverged = "";
  let invalid = "";
  for (const [i, output] of reference.entries()) {
    const other = partner(output, i, candidate) as Tensor;
    const limits = limitsOf(output.name, output.datatype, options.tolerance);
    const difference = compareOutput(output, other, limits);
    outputs.push(difference);
    invalid ||= whyInvalid(difference);
    diverged ||= whyDiverged(difference, limits);
  }
  const bitEqual = outputs.every((output) => output.bitEqual);
  const decision = compareDecision(reference, candidate, options);
  // Whatever the decision is made of: the same bytes decide the same. One that cannot be read counts for nothing even so,
  // or the inputs on which engines agree would be the only ones that count.
  if (bitEqual) {
    const flip = decision.flip === undefined ? undefined : false;
    return { result: "bit_equal", reason: "", outputs, ...decision, flip };
  }
  if (invalid !== "") return { result: "invalid", reason: invalid, outputs, ...decision };
  if (diverged !== "") return { result: "diverged", reason: diverged, outputs, ...decision };
  return { result: "within", reason: "", outputs, ...decision };
}

/** Outputs that cannot be compared at all, in words; undefined when every one has its partner. */
function structuralMismatch(reference: readonly Tensor[], candidate: readonly Tensor[]): string | undefined {
  if (reference.length !== candidate.length)
    return `${candidate.length} outputs where the reference has ${reference.length}`;
  for (const [i, output] of reference.entries()) {
    const other = partner(output, i, candidate);
    if (other === undefined) return `output "${output.name}" is missing`;
    if (other.datatype !== output.datatype)
      return `output "${output.name}" is ${other.datatype} where the reference has ${output.datatype}`;
    if (other.shape.length !== output.shape.length || other.shape.some((n, axis) => n !== output.shape[axis]))
      return `output "${output.name}" is [${other.shape.join(",")}] where the reference has [${output.shape.join(",")}]`;
  }
  return undefined;
}

/** The output of the same name; the usual place is tried first. */
function partner(output: Tensor, at: number, candidate: readonly Tensor[]): Tensor | undefined {
  const usual = candidate[at];
  return usual?.name === output.name ? usual : candidate.find((other) => other.name === output.name);
}

function whyInvalid({ name, notComparable, reference, candidate }: OutputDifference): string {
  if (notComparable === 0) return "";
  const count = ({ nan, infinite }: OutputDifference["reference"]) => `${nan} NaN and ${infinite} infinite`;
  return `output "${name}" has ${count(candidate)} values where the reference has ${count(reference)}`;
}

function whyDiverged(output: OutputDifference, limits: Limits): string {
  if (output.outside > 0)
    return `output "${output.name}": ${output.outside} of ${output.elements} values beyond abs ${limits.abs}, rel ${limits.rel}; the largest by ${output.abs.max}`;
  if (limits.cosine !== undefined && !(output.cosine >= limits.cosine))
    return `output "${output.name}": cosine ${output.cosine} below ${limits.cosine}`;
  return "";
}

/** Outputs of the other tasks are figures: nothing is decided by them that could change. */
function decides(task: Task): boolean {
  return task !== "regression" && task !== "tensor";
}

type Decision = Pick<Difference, "flip" | "undecided" | "classification" | "detection" | "segmentation">;

function compareDecision(
  reference: readonly Tensor[],
  candidate: readonly Tensor[],
  options: CompareOptions,
): Decision {
  const first = reference[0];
  const other = first && partner(first, 0, candidate);
  if (first === undefined || other === undefined) return { flip: false };
  switch (options.task) {
    case "classification": {
      const classification = compareClasses(first, other, options.topK);
      return { flip: classification.top1Flips > 0, classification };
    }
    case "detection": {
      const detection = options.detection
        ? compareDetections(reference, candidate, options.detection)
        : "nothing says which outputs hold detections: set detection.scores and detection.boxes in model.yaml";
      if (typeof detection === "string") return { flip: undefined, undecided: detection };
      return { flip: detection.changed > 0, detection };
    }
    case "segmentation": {
      const segmentation = compareSegments(first, other);
      const allowed = (options.pixelFlipRatio ?? 0.01) * segmentation.pixels;
      return { flip: segmentation.flips > allowed, segmentation };
    }
    case "regression":
    case "tensor":
      return { flip: false };
    default:
      return options.task satisfies never;
  }
}
