import type { Series } from "./family.ts";

/** Counts one value into a histogram's series. Returns the bucket's index. */
export function observeInto(series: Series, bounds: readonly number[], seconds: number): number {
  let bucket = 0;
  while (bucket < bounds.length && seconds > (bounds[bucket] as number)) bucket += 1;
  const sum = bounds.length + 1;
  series.values[bucket] = (series.values[bucket] as number) + 1;
  series.values[sum] = (series.values[sum] as number) + seconds;
  return bucket;
}
