import { clopperPearsonUpper } from "../../compare/statistics/clopper-pearson.ts";
import type { Difference, DetectionDifference, SegmentationDifference } from "../../compare/difference.ts";
import type { ReportPair } from "../report/schema.ts";

/** Adds up how two engines differ, input by input. Memory is constant. */
export interface PairFigures {
  add(difference: Difference): void;
  result(): ReportPair;
}

export function createPairFigures(reference: string, candidate: string): PairFigures {
  const counts = { samples: 0, bitEqual: 0, within: 0, diverged: 0, invalid: 0, decided: 0, flips: 0 };
  let comparable = 0;
  let maxAbs = 0;
  let ulpP99 = 0;
  let minCosine = 1;
  let classified = 0;
  let maxJsNats = 0;
  let flipExposed = 0;
  let reason: string | null = null;
  let undecidedReason: string | null = null;
  const detections = createDetectionFigures();
  const segments = createSegmentFigures();
  return {
    add(difference) {
      const { result, flip, outputs, classification } = difference;
      counts.samples += 1;
      counts[result === "bit_equal" ? "bitEqual" : result] += 1;
      if (flip !== undefined) counts.decided += 1;
      if (flip) counts.flips += 1;
      undecidedReason ??= difference.undecided ?? null;
      reason ??= difference.reason === "" ? null : difference.reason;
      if (outputs.length > 0) comparable += 1;
      for (const { abs, ulp, cosine } of outputs) {
        maxAbs = Math.max(maxAbs, abs.max);
        ulpP99 = Math.max(ulpP99, ulp.p99);
        // NaN on one side leaves no cosine to speak of; the input counts as invalid already.
        if (cosine < minCosine) minCosine = cosine;
      }
      if (difference.detection !== undefined) detections.add(difference.detection);
      if (difference.segmentation !== undefined) segments.add(difference.segmentation);
      if (classification === undefined) return;
      classified += 1;
      flipExposed += classification.exposed;
      if (classification.js > maxJsNats) maxJsNats = classification.js;
    },
    result: () => ({
      reference,
      candidate,
      ...counts,
      flipUpperBoundRatio:
        counts.decided === 0 ? null : clopperPearsonUpper(counts.flips, counts.decided, 0.95),
      maxAbs: comparable === 0 ? null : maxAbs,
      ulpP99: comparable === 0 ? null : ulpP99,
      minCosine: comparable === 0 ? null : minCosine,
      maxJsNats: classified === 0 ? null : maxJsNats,
      flipExposed: classified === 0 ? null : flipExposed,
      detection: detections.result(),
      segmentation: segments.result(),
      reason,
      undecidedReason,
    }),
  };
}

function createDetectionFigures(): {
  add(difference: DetectionDifference): void;
  result(): ReportPair["detection"];
} {
  const total = { reference: 0, candidate: 0, matched: 0, changed: 0, classFlips: 0 };
  let inputs = 0;
  let maxScoreDifference = 0;
  let minIou = 1;
  return {
    add(difference) {
      inputs += 1;
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += difference[name];
      maxScoreDifference = Math.max(maxScoreDifference, difference.maxScoreDifference);
      minIou = Math.min(minIou, difference.minIou);
    },
    result() {
      if (inputs === 0) return null;
      const none = total.matched === 0;
      return {
        ...total,
        maxScoreDifference: none ? null : maxScoreDifference,
        minIouRatio: none ? null : minIou,
      };
    },
  };
}

function createSegmentFigures(): {
  add(difference: SegmentationDifference): void;
  result(): ReportPair["segmentation"];
} {
  let inputs = 0;
  let pixels = 0;
  let flips = 0;
  let worst = 0;
  return {
    add(difference) {
      inputs += 1;
      pixels += difference.pixels;
      flips += difference.flips;
      if (difference.pixels > 0) worst = Math.max(worst, difference.flips / difference.pixels);
    },
    result: () => (inputs === 0 ? null : { pixels, flips, worstInputFlipRatio: pixels === 0 ? null : worst }),
  };
}
