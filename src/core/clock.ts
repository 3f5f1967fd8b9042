/** Time as every part gets it, so that tests can supply their own. */
export interface Clock {
  /** Monotonic seconds from an arbitrary origin. */
  readonly seconds: () => number;
  /** Wall time. */
  readonly now: () => Date;
}

export const systemClock: Clock = {
  seconds: () => performance.now() / 1000,
  now: () => new Date(),
};
