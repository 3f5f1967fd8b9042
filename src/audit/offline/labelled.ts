import { clopperPearsonUpper } from "../../compare/statistics/clopper-pearson.ts";
import { mcnemarExact } from "../../compare/statistics/mcnemar.ts";
import type { ReportEngine } from "../report/schema.ts";
import type { AuditInput } from "./inputs.ts";

/** How often an engine was right on each labelled set, and against the reference input by input. */
export function labelledFigures(
  inputs: readonly AuditInput[],
  classes: readonly (number | null)[],
  reference: readonly (number | null)[] | undefined,
): ReportEngine["labelled"] {
  return (["clean", "corrupted", "given"] as const).flatMap((set): ReportEngine["labelled"] => {
    const rows = inputs.flatMap((input, i) =>
      input.set === set && input.label !== null
        ? [{ right: classes[i] === input.label, before: reference?.[i] === input.label }]
        : [],
    );
    if (rows.length === 0) return [];
    const count = (test: (row: { right: boolean; before: boolean }) => boolean) => rows.filter(test).length;
    const negative = count(({ right, before }) => before && !right);
    const positive = count(({ right, before }) => right && !before);
    const own = { set, samples: rows.length, correct: count(({ right }) => right) };
    if (reference === undefined) return [{ ...own, ...noFlips }];
    return [
      {
        ...own,
        negativeFlips: negative,
        positiveFlips: positive,
        negativeFlipRatio: negative / rows.length,
        negativeFlipUpperBoundRatio: clopperPearsonUpper(negative, rows.length, 0.95),
        accuracyDeltaRatio: (positive - negative) / rows.length,
        mcnemarPValue: mcnemarExact(negative, positive),
      },
    ];
  });
}

/** Of an engine that is held against no other. */
export const noFlips = {
  negativeFlips: null,
  positiveFlips: null,
  negativeFlipRatio: null,
  negativeFlipUpperBoundRatio: null,
  accuracyDeltaRatio: null,
  mcnemarPValue: null,
} as const;

/** Share of right answers on one set. */
export function accuracyOn(labelled: ReportEngine["labelled"], set: "clean" | "corrupted"): number | null {
  const found = labelled.find((one) => one.set === set);
  return found === undefined ? null : found.correct / found.samples;
}
