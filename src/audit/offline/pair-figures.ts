import type { Difference } from "../../compare/difference.ts";
import type { ReportPair } from "../report/schema.ts";

/** Adds up how two engines differ, input by input. Memory is constant. */
export interface PairFigures {
  add(difference: Difference): void;
  result(): ReportPair;
}

export function createPairFigures(reference: string, candidate: string): PairFigures {
  const counts = { samples: 0, bitEqual: 0, within: 0, diverged: 0, invalid: 0, flips: 0 };
  let comparable = 0;
  let maxAbs = 0;
  let ulpP99 = 0;
  let minCosine = 1;
  let classified = 0;
  let maxJsNats = 0;
  let flipExposed = 0;
  let reason: string | null = null;
  return {
    add(difference) {
      const { result, flip, outputs, classification } = difference;
      counts.samples += 1;
      counts[result === "bit_equal" ? "bitEqual" : result] += 1;
      if (flip) counts.flips += 1;
      reason ??= difference.reason === "" ? null : difference.reason;
      if (outputs.length > 0) comparable += 1;
      for (const { abs, ulp, cosine } of outputs) {
        maxAbs = Math.max(maxAbs, abs.max);
        ulpP99 = Math.max(ulpP99, ulp.p99);
        // NaN on one side leaves no cosine to speak of; the input counts as invalid already.
        if (cosine < minCosine) minCosine = cosine;
      }
      if (classification === undefined) return;
      classified += 1;
      flipExposed += classification.exposed;
      if (classification.js > maxJsNats) maxJsNats = classification.js;
    },
    result: () => ({
      reference,
      candidate,
      ...counts,
      maxAbs: comparable === 0 ? null : maxAbs,
      ulpP99: comparable === 0 ? null : ulpP99,
      minCosine: comparable === 0 ? null : minCosine,
      maxJsNats: classified === 0 ? null : maxJsNats,
      flipExposed: classified === 0 ? null : flipExposed,
      reason,
    }),
  };
}
