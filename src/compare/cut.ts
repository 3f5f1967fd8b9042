/** Where a single score changes sides: 0.5 where all values of both lie in 0..1, as probabilities do, else 0. */
export function cutOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return inUnitRange(a) && inUnitRange(b) ? 0.5 : 0;
}

function inUnitRange(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    if (value < 0 || value > 1) return false;
  }
  return true;
}
