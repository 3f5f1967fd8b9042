import { betaInc, lnBeta } from "./special.ts";

/**
 * Statements about the rate of a yes-or-no event that stay valid however often one looks (anytime-valid), from the
 * beta-binomial mixture martingale: for a true rate p,
 *
 *     M_n(p) = B(a + k, b + n - k) / (B(a, b) p^k (1 - p)^(n - k))
 *
 * starts at 1 and has expectation 1, so that P(ever M_n(p) >= 1/alpha) <= alpha (Ville). Requires that each
 * observation has rate p given the past: independent ones, or discordant pairs in random order.
 * Source: Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, Annals of Statistics 49(2), 2021, beta-binomial mixture.
 */
export interface Prior {
  readonly a: number;
  readonly b: number;
}

/** Where the mixture looks first: rates around the threshold that is to be decided. */
export function priorAround(threshold: number): Prior {
  if (threshold >= 0.5) return { a: 1, b: 1 };
  return { a: 0.5, b: 0.5 / Math.max(threshold, 1e-4) };
}

/** ln M_n(p) for k events in n observations. */
function lnMixture(events: number, n: number, rate: number, prior: Prior): number {
  const misses = n - events;
  return (
    lnBeta(prior.a + events, prior.b + misses) -
    lnBeta(prior.a, prior.b) -
    (events > 0 ? events * Math.log(rate) : 0) -
    (misses > 0 ? misses * Math.log1p(-rate) : 0)
  );
}

/** Whether k events in n observations refute this rate at level alpha: it lies outside of `rateInterval`. */
export function isRefuted(
  rate: number,
  seen: { readonly events: number; readonly n: number; readonly alpha: number; readonly prior: Prior },
): boolean {
  const { events, n, alpha, prior } = seen;
  return lnMixture(events, n, rate, prior) >= -Math.log(alpha);
}

/** The rates that are not refuted at level alpha: an always-valid two-sided interval. */
export function rateInterval(events: number, n: number, alpha: number, prior: Prior): Interval {
  if (n === 0) return { lower: 0, upper: 1 };
  const estimate = events / n;
  // M is convex in p with its minimum at k/n: one crossing on each side.
  const refuted = (rate: number) => isRefuted(rate, { events, n, alpha, prior });
  return {
    lower: events === 0 ? 0 : bisect(0, estimate, (rate) => !refuted(rate)),
    upper: events === n ? 1 : bisect(estimate, 1, refuted),
  };
}

/**
 * ln of the one-sided e-process against H0: rate <= p0; alarm at e >= 1/alpha. Mixes over rates above p0 only, so
 * that it is a supermartingale for every rate up to p0:
 * e_n = M_n(p0) (1 - I_p0(a + k, b + n - k)) / (1 - I_p0(a, b)).
 */
export function lnRateEProcess(events: number, n: number, p0: number, prior: Prior): number {
  const tail = betaInc(1 - p0, prior.b + n - events, prior.a + events);
  return lnMixture(events, n, p0, prior) + Math.log(tail) - Math.log(betaInc(1 - p0, prior.b, prior.a));
}

/**
 * ln of e-process R2: does one of two engines come off worse more often than the other? Counts of pairs, in random
 * order, in which exactly one did; ties are dropped. Under H0 each falls either way like a fair coin, whatever bursts
 * or drifts the two share.
 */
export function lnPairedEProcess(worse: number, better: number): number {
  return lnRateEProcess(worse, worse + better, 0.5, { a: 1, b: 1 });
}

export interface Interval {
  readonly lower: number;
  readonly upper: number;
}

/** The point in [low, high] where `above` turns from false to true, to double precision relative to the range. */
export function bisect(low: number, high: number, above: (x: number) => boolean): number {
  let from = low;
  let to = high;
  for (let step = 0; step < 100; step += 1) {
    const middle = from + (to - from) / 2;
    if (middle === from || middle === to) break;
    if (above(middle)) to = middle;
    else from = middle;
  }
  return from + (to - from) / 2;
}
