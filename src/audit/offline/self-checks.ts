import { compareOutputs } from "../../compare/compare.ts";
import type { CompareOptions } from "../../compare/options.ts";
import type { Runner } from "../../core/engine.ts";
import type { Tensor } from "../../core/tensor.ts";
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
    else if (difference?.result !== "within" || difference.flip) disagreements += 1;
  }
  return { check, samples: remembered.length, bitEqual, disagreements };
}
