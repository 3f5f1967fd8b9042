import { compareOutputs } from "../../compare/compare.ts";
import type { Difference } from "../../compare/difference.ts";
import type { CompareOptions } from "../../compare/options.ts";
import type { Runner } from "../../core/engine.ts";
import type { Tensor, TensorSpec } from "../../core/tensor.ts";
import { answersToEqualRows } from "../../models/equal-rows.ts";
import type { ReportEngine } from "../report/schema.ts";

type SelfCheck = ReportEngine["selfChecks"][number];

/** An input with what the engine made of it the first time. */
export interface Remembered {
  readonly tensors: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Does the engine say the same again? It disagrees where its outputs leave the tolerance or the decision changes. */
export async function checkAgain(
  check: SelfCheck["check"],
  runner: Runner,
  remembered: readonly Remembered[],
  options: CompareOptions,
): Promise<SelfCheck> {
  let bitEqual = 0;
  let disagreements = 0;
  for (const { tensors, outputs } of remembered) {
    const again = await runner.infer({ inputs: tensors }).catch(() => undefined);
    const difference = again && compareOutputs(outputs, again.outputs, options);
    if (difference?.result === "bit_equal") bitEqual += 1;
    else if (difference === undefined || disagrees(difference)) disagreements += 1;
  }
  return { check, samples: remembered.length, bitEqual, disagreements };
}

/** Do equal rows of a batch get equal answers? Nothing to say where the engine takes no batch, or answers not by row. */
export async function checkRows(
  runner: Runner,
  specs: readonly TensorSpec[],
  remembered: readonly Remembered[],
  options: CompareOptions,
): Promise<SelfCheck[]> {
  let samples = 0;
  let bitEqual = 0;
  let disagreements = 0;
  for (const { tensors } of remembered) {
    const run = async (inputs: readonly Tensor[]) => (await runner.infer({ inputs })).outputs;
    const agree = (one: readonly Tensor[], other: readonly Tensor[]) =>
      !disagrees(compareOutputs(one, other, options));
    // A batch that fails is no answer of rows, whatever else it says: an engine may be right to refuse it.
    const rows = await answersToEqualRows(tensors, specs, run, agree).catch(() => undefined);
    if (rows === undefined) continue;
    const [head = [], ...others] = rows;
    samples += 1;
    const differences = others.map((row) => compareOutputs(head, row, options));
    if (differences.some(disagrees)) disagreements += 1;
    else if (differences.every(({ result }) => result === "bit_equal")) bitEqual += 1;
  }
  return samples === 0 ? [] : [{ check: "rows", samples, bitEqual, disagreements }];
}

function disagrees({ result, flip }: Difference): boolean {
  return (result !== "bit_equal" && result !== "within") || flip === true;
}
