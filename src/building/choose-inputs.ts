import type { Tensor, TensorSpec } from "../core/tensor.ts";
import { createRandom } from "../compare/statistics/random.ts";
import { evenly, openSamples } from "./calibration.ts";
import { generatedInputs } from "./generated-inputs.ts";
import type { ModelPlace } from "./model-folder.ts";

/** Where inputs came from: a file that was named, the model's own samples, or a seeded generator. */
export type InputKind = "given" | "samples" | "generated";

/** Fixed, so that two checks of one model see the same inputs. */
const seed = 20_260_101;
const generatedCount = 32;

/**
 * Inputs to run engines of a model on: those of `given` (.npz), else of the model's clean samples, else generated ones;
 * at most `most`, chosen evenly.
 *
 * @throws GatewayError when they cannot be read or do not fit.
 */
export async function chooseInputs(
  place: Pick<ModelPlace, "directory" | "config">,
  specs: readonly TensorSpec[],
  { given, most }: { readonly given: string | undefined; readonly most: number },
): Promise<{ readonly kind: InputKind; readonly samples: readonly Tensor[][] }> {
  const samples = await openSamples(place, specs, given);
  if (samples === undefined) {
    const random = createRandom(seed);
    const count = Math.min(generatedCount, most);
    return {
      kind: "generated",
      samples: Array.from({ length: count }, () => generatedInputs(specs, random)),
    };
  }
  const kind = given === undefined ? "samples" : "given";
  return { kind, samples: evenly(samples.count, most).map((index) => samples.at(index)) };
}
