import type { Clock } from "../core/clock.ts";
import type { EngineInfo } from "../core/engine.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import { compareOutputs } from "../compare/compare.ts";
import type { Difference } from "../compare/difference.ts";
import type { Pool } from "../hosting/pool.ts";
import type { BuildModel, StagedEngine } from "./build-engines.ts";
import { chooseInputs, type InputKind } from "./choose-inputs.ts";
import type { Families } from "./families.ts";
import { openEngine } from "./open-engine.ts";
import { openReference, type Reference } from "./reference.ts";

/** How a new engine's outputs differ from the reference's, both run in real hosts on the same inputs. */
export interface EngineCheck {
  readonly reference: string;
  readonly inputs: InputKind;
  readonly samples: number;
  /** Samples whose outputs are equal in every byte. */
  readonly bitEqual: number;
  readonly diverged: number;
  readonly invalid: number;
  readonly flips: number;
  /** Samples whose decision could not be read, and why the first could not. */
  readonly undecided: number;
  readonly undecidedReason: string;
  readonly maxAbs: number;
  /** The first reason of a diverged or invalid sample. */
  readonly reason: string;
}

/** Checks the engines of one build request; the reference runs once for all of them. */
export interface Checker {
  /** @throws GatewayError when the engine does not load or fails on an input. */
  check(engine: StagedEngine, model: BuildModel): Promise<EngineCheck>;
  close(): Promise<void>;
}

export interface CheckerOptions {
  readonly families: Families;
  /** .npz to check with; default the model's clean samples, else generated inputs. */
  readonly inputs?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const mostSamples = 32;

export function createChecker({ families, inputs, clock, log }: CheckerOptions): Checker {
  let reference: Reference | undefined;
  let expected: { readonly kind: InputKind; readonly pairs: readonly Pair[] } | undefined;

  const withPool = async <T>(
    engine: { readonly directory: string; readonly manifest: StagedEngine["manifest"] },
    use: (pool: Pool, info: EngineInfo) => Promise<T>,
  ): Promise<T> => {
    const pool = openEngine(engine, families.hostCommand(engine.manifest.compiler.name), { clock, log });
    try {
      return await use(pool, await pool.start());
    } finally {
      await pool.close();
    }
  };

  return {
    check: (engine, model) =>
      withPool(engine, async (pool, info) => {
        if (expected === undefined) {
          reference = await openReference(model, families, clock);
          const { kind, samples } = await chooseInputs(model.place, info.inputs, {
            given: inputs,
            most: mostSamples,
          });
          const pairs = await withPool(reference, async (other) => {
            const done: Pair[] = [];
            for (const sample of samples)
              done.push({ inputs: sample, outputs: (await other.infer({ inputs: sample })).outputs });
            return done;
          });
          expected = { kind, pairs };
        }
        const { task, tolerance, detection } = model.place.config;
        const differences: Difference[] = [];
        for (const pair of expected.pairs) {
          const { outputs } = await pool.infer({ inputs: pair.inputs });
          differences.push(compareOutputs(pair.outputs, outputs, { task, tolerance, detection }));
        }
        return summarise(reference?.name ?? "", expected.kind, differences);
      }),
    async close() {
      await reference?.remove();
    },
  };
}

interface Pair {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Counts and maxima over the samples. */
function summarise(reference: string, inputs: InputKind, differences: readonly Difference[]): EngineCheck {
  const count = (test: (difference: Difference) => boolean): number => differences.filter(test).length;
  const maxima = differences.flatMap(({ outputs }) => outputs.map(({ abs }) => abs.max));
  return {
    reference,
    inputs,
    samples: differences.length,
    bitEqual: count(({ result }) => result === "bit_equal"),
    diverged: count(({ result }) => result === "diverged"),
    invalid: count(({ result }) => result === "invalid"),
    flips: count(({ flip }) => flip === true),
    undecided: count(({ flip }) => flip === undefined),
    undecidedReason: differences.find(({ undecided }) => undecided !== undefined)?.undecided ?? "",
    maxAbs: Math.max(0, ...maxima),
    reason: differences.find(({ reason }) => reason !== "")?.reason ?? "",
  };
}
