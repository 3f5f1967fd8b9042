import { numbers } from "../../compare/elements.ts";
import type { Tensor } from "../../core/tensor.ts";

/** The class with the highest score in the first output; the lowest number of equal ones, null for nothing but NaN. */
export function topClass(outputs: readonly Tensor[]): number | null {
  const [scores] = outputs;
  if (scores === undefined) return null;
  const values = numbers(scores);
  let best = -1;
  for (let i = 0; i < values.length; i += 1)
    if (best === -1 ? !Number.isNaN(values[i]) : (values[i] as number) > (values[best] as number)) best = i;
  return best === -1 ? null : best;
}
