import { binomialCdf } from "./order-statistic.ts";

/**
 * McNemar's exact two-sided p: are `onlyFirst` and `onlySecond` (cases where exactly one of two engines is right)
 * as likely as each other? Looked at once. 1 when there are none.
 */
export function mcnemarExact(onlyFirst: number, onlySecond: number): number {
  const n = onlyFirst + onlySecond;
  if (n === 0) return 1;
  return Math.min(1, 2 * binomialCdf(Math.min(onlyFirst, onlySecond), n, 0.5));
}
