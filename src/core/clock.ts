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

/** Seconds of the one clock that all threads share; performance.now() counts from the start of each. */
function sharedSeconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds + nanoseconds / 1e9;
}

/** Where a clock's seconds begin, for `clockFrom` in another thread. */
export function originOf(clock: Clock): number {
  return sharedSeconds() - clock.seconds();
}

/** The clock of another thread. */
export function clockFrom(origin: number): Clock {
  return { ...systemClock, seconds: () => sharedSeconds() - origin };
}
