import { GatewayError } from "../core/errors.ts";
import type { ModelConfig } from "../models/manifest.ts";
import { openRepository } from "../models/repository.ts";
import type { LotteryEngine } from "./lottery.ts";

/** A model with all its engines, each of them readable. */
export interface ModelEngines {
  readonly model: ModelConfig;
  readonly directory: string;
  readonly engines: readonly LotteryEngine[];
}

/**
 * Reads a model to work on its engines, without a gateway. A fault in one file is told, not passed over: figures that
 * lack an engine without a word mislead.
 *
 * @throws GatewayError `notFound` or `invalid`.
 */
export async function readModelEngines(repository: string, name: string): Promise<ModelEngines> {
  const { config, directory, error, engines } = await (await openRepository(repository)).read(name);
  if (config === undefined) throw new GatewayError("invalid", error ?? `model "${name}" cannot be read`);
  const broken = engines.find(({ manifest }) => manifest === undefined);
  if (broken !== undefined)
    throw new GatewayError(
      "invalid",
      `engine "${broken.id}" of model "${name}": ${broken.error}; repair or remove it`,
    );
  return {
    model: config,
    directory,
    engines: engines.flatMap(({ id, directory: place, manifest }) =>
      manifest === undefined ? [] : [{ id, directory: place, manifest }],
    ),
  };
}
