import type { Datatype } from "../core/tensor.ts";

/**
 * How one engine's outputs differ from the reference's on one input. Plain data: it crosses threads by structured
 * clone. Quantiles are rounded up within 3.2 %; maxima are exact.
 */
export interface Difference {
  readonly result: Result;
  /** Why it is diverged or invalid: the output and the figure; empty otherwise. */
  readonly reason: string;
  /**
   * The decision changed: top-1 class, detections, segmentation; or the outputs have not the reference's structure.
   * Always false for regression and tensor; undefined when the decision could not be read, which is no evidence at all.
   */
  readonly flip: boolean | undefined;
  /** Why the decision could not be read, with the remedy. */
  readonly undecided?: string | undefined;
  readonly outputs: readonly OutputDifference[];
  readonly classification?: ClassificationDifference | undefined;
  readonly detection?: DetectionDifference | undefined;
  readonly segmentation?: SegmentationDifference | undefined;
}

/**
 * bit_equal: every byte. within: every element and the cosine within the tolerance. diverged: comparable, but not
 * within. invalid: another shape, type or set of outputs, or NaN or infinity where the other has a number.
 */
type Result = "bit_equal" | "within" | "diverged" | "invalid";

/**
 * What is kept of it by those who compare without end. It crosses threads by `shadow/rows.ts`, which names each of its fields.
 */
export interface DifferenceSummary extends Pick<Difference, "result" | "flip" | "undecided"> {
  readonly outputs: readonly OutputSummary[];
  /** Of a classifier. */
  readonly kl: number | undefined;
}

export interface OutputSummary extends Pick<
  OutputDifference,
  "name" | "datatype" | "bitEqual" | "notComparable" | "cosine"
> {
  readonly absMax: number;
  readonly relMax: number;
  readonly ulpMax: number;
}

export function summaryOf({
  result,
  flip,
  undecided,
  outputs,
  classification,
}: Difference): DifferenceSummary {
  return {
    result,
    flip,
    undecided,
    outputs: outputs.map(({ name, datatype, bitEqual, notComparable, cosine, abs, rel, ulp }) => ({
      name,
      datatype,
      bitEqual,
      notComparable,
      cosine,
      absMax: abs.max,
      relMax: rel.max,
      ulpMax: ulp.max,
    })),
    kl: classification?.kl,
  };
}

export interface OutputDifference {
  readonly name: string;
  readonly datatype: Datatype;
  readonly elements: number;
  readonly bitEqual: boolean;
  readonly reference: NotFinite;
  readonly candidate: NotFinite;
  /** Elements where exactly one side is NaN or infinite, or the infinities differ. */
  readonly notComparable: number;
  /** Comparable elements outside the tolerance. */
  readonly outside: number;
  readonly abs: Spread;
  /** |candidate - reference| / |reference|; a reference of 0 counts as 2.22e-16, as Polygraphy has it. */
  readonly rel: Spread;
  /** Representable values between the two, in the output's own type; whole numbers: their distance. */
  readonly ulp: Spread;
  /** Euclidean length of the difference. */
  readonly l2: number;
  /** 1 for two zero vectors, 0 when one of them is. */
  readonly cosine: number;
}

export interface NotFinite {
  readonly nan: number;
  readonly infinite: number;
}

export interface Spread {
  readonly max: number;
  readonly p50: number;
  readonly p99: number;
}

/** Of the first output, one row per sample of the batch; of labels, one per element and no scores to tell more from. */
export interface ClassificationDifference {
  readonly rows: number;
  readonly top1Flips: number;
  /** Rows whose sets of top-k classes differ. */
  readonly topKFlips: number;
  /** Smallest distance between the reference's best two scores, or twice that from the cut; Infinity without scores. */
  readonly margin: number;
  /** Rows that flipped, or where twice the largest difference reaches the margin, so that a flip was possible. */
  readonly exposed: number;
  /** Largest over rows, in nats: KL(reference || candidate), and Jensen-Shannon (at most ln 2). NaN when no row has one. */
  readonly kl: number;
  readonly js: number;
}

export interface DetectionDifference {
  readonly reference: number;
  readonly candidate: number;
  /** Pairs of the same class with IoU of at least matchIou. */
  readonly matched: number;
  /** Pairs that match in place but not in class. */
  readonly classFlips: number;
  /** Detections without a partner of the same class, on either side. */
  readonly changed: number;
  /** Over matched pairs; 0 and 1 when there are none. */
  readonly maxScoreDifference: number;
  readonly minIou: number;
}

export interface SegmentationDifference {
  readonly pixels: number;
  readonly flips: number;
}
