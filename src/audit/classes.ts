import { holdsLabels } from "../compare/classification.ts";
import type { EngineInfo } from "../core/engine.ts";
import type { ModelConfig } from "../models/manifest.ts";

/** How many scores the model gives a row, two for a single one; as many as it has names for, where its output does not say; Infinity where nothing does. */
export function classesOf({
  info,
  config: { labels },
}: {
  readonly info: EngineInfo | undefined;
  readonly config: Pick<ModelConfig, "labels">;
}): number {
  const output = info?.outputs[0];
  const shape = output?.shape ?? [];
  const scores = shape.length > 1 ? shape.slice(1) : shape;
  if (output === undefined || holdsLabels(output) || scores.length === 0 || scores.some((size) => size <= 0))
    return labels?.length ?? Infinity;
  return Math.max(
    2,
    scores.reduce((a, b) => a * b, 1),
  );
}
