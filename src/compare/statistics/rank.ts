/** Midranks (1-based; ties share their mean rank) and the sizes of tie groups larger than one. */
export function midranks(values: readonly number[]): { ranks: Float64Array; ties: readonly number[] } {
  const order = Array.from(values.keys()).sort((i, j) => (values[i] as number) - (values[j] as number));
  const ranks = new Float64Array(values.length);
  const ties: number[] = [];
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && values[order[to] as number] === values[order[from] as number]) to += 1;
    for (let at = from; at < to; at += 1) ranks[order[at] as number] = (from + 1 + to) / 2;
    if (to - from > 1) ties.push(to - from);
    from = to;
  }
  return { ranks, ties };
}

/**
 * Kendall's tau-b of two rankings of the same things (ties corrected); 1 same order, -1 reversed. NaN when one side
 * is all ties. O(n^2): for rankings of compilers, not of samples.
 */
export function kendallTau(x: readonly number[], y: readonly number[]): number {
  let agreement = 0;
  let pairsX = 0;
  let pairsY = 0;
  for (let i = 0; i < x.length; i += 1) {
    for (let j = i + 1; j < x.length; j += 1) {
      const dx = Math.sign((x[j] as number) - (x[i] as number));
      const dy = Math.sign((y[j] as number) - (y[i] as number));
      agreement += dx * dy;
      pairsX += dx * dx;
      pairsY += dy * dy;
    }
  }
  return agreement / Math.sqrt(pairsX * pairsY);
}
