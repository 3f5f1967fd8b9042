/**
 * Where a single score changes sides: 0.5 where all the reference's values lie in 0..1, as probabilities do, else 0. Not by
 * the candidate's, of which one a hair below 0 would move the cut under all others.
 */
export function cutOf(reference: ArrayLike<number>): number {
  for (let i = 0; i < reference.length; i += 1) {
    const value = reference[i] as number;
    if (value < 0 || value > 1) return 0;
  }
  return 0.5;
}
