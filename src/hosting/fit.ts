import type { TensorSpec } from "../core/tensor.ts";

/** Why a tensor of this shape does not fit the spec, or undefined when it does. */
export function shapeMisfit(spec: TensorSpec, shape: readonly number[]): string | undefined {
  if (shape.length === spec.shape.length) {
    let fits = true;
    for (let axis = 0; axis < shape.length && fits; axis += 1) {
      const have = shape[axis] as number;
      const want = spec.shape[axis] as number;
      const bounds = spec.bounds?.[axis];
      if (want >= 0) fits = have === want;
      else
        fits = Number.isSafeInteger(have) && have >= (bounds?.[0] ?? 0) && have <= (bounds?.[1] ?? Infinity);
    }
    if (fits) return undefined;
  }
  const bounds = spec.bounds === undefined ? "" : ` within bounds ${JSON.stringify(spec.bounds)}`;
  return `"${spec.name}" has shape [${shape.join(", ")}]; the engine takes [${spec.shape.join(", ")}]${bounds}`;
}

export function isStatic(spec: TensorSpec): boolean {
  return spec.shape.every((dimension) => dimension >= 0);
}
