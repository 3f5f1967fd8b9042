import type { Clock } from "../core/clock.ts";

/** From here on the two clocks disagree because the wall clock was set, not because it is read in whole milliseconds. */
const stepSeconds = 0.05;

/**
 * Monotonic seconds as epoch milliseconds with fractions. One offset serves all spans, so that those of one request keep
 * their distances; it is taken anew when the wall clock was set or the machine slept.
 */
export function createWallTime(clock: Clock): (seconds: number) => number {
  const measure = () => clock.now().getTime() / 1000 - clock.seconds();
  let offset = measure();
  return (seconds) => {
    const now = measure();
    if (Math.abs(now - offset) > stepSeconds) offset = now;
    return (offset + seconds) * 1000;
  };
}
