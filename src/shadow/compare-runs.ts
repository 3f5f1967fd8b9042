import { compareOutputs } from "../compare/compare.ts";
import { summaryOf, type DifferenceSummary } from "../compare/difference.ts";
import type { CompareOptions } from "../compare/options.ts";
import type { Tensor } from "../core/tensor.ts";

/** How two runs on one input differ, by their places. A run that is its own reference is held against the client's reply. */
export interface RunComparison {
  readonly reference: number;
  readonly candidate: number;
  readonly difference: DifferenceSummary;
}

/**
 * Compares every run's outputs with those of the run at `base`, and the run at `replied`, of the engine that answered the
 * client, with that answer.
 * @param outputs of each run; undefined where it gave none
 */
export function compareRuns(
  outputs: readonly (readonly Tensor[] | undefined)[],
  how: {
    readonly base: number | undefined;
    readonly replied: number | undefined;
    readonly reply: readonly Tensor[];
    readonly options: CompareOptions;
  },
): RunComparison[] {
  const { base, replied, reply, options } = how;
  const comparisons: RunComparison[] = [];
  const expected = base === undefined ? undefined : outputs[base];
  for (const [place, given] of outputs.entries()) {
    if (base === undefined || !expected || !given || place === base) continue;
    const difference = summaryOf(compareOutputs(expected, given, options));
    comparisons.push({ reference: base, candidate: place, difference });
  }
  const again = replied === undefined ? undefined : outputs[replied];
  if (replied !== undefined && again) {
    // The client may have asked for some of the outputs only.
    const names = new Set(reply.map(({ name }) => name));
    const asked = reply.length < again.length ? again.filter(({ name }) => names.has(name)) : again;
    const difference = summaryOf(compareOutputs(reply, asked, options));
    comparisons.push({ reference: replied, candidate: replied, difference });
  }
  return comparisons;
}
