import type { Report } from "../report/schema.ts";

/** Times of one engine on one device, a round each; null where it failed. */
export interface RoundTimes {
  readonly id: string;
  readonly device: string;
  readonly seconds: readonly (number | null)[];
}

/** A time above so many times the engine's own median is a slow one. */
const slowRatio = 2;
/** Fewer tell nothing. */
const fewestRounds = 5;
/** So many times as often as chance has it, if engines were slow each for reasons of its own. */
const beyondChance = 10;

/**
 * Rounds in which all engines of a device were slow at once: that is no engine's doing, but something else had the
 * device (other work, its clocks, the hypervisor). Meant for inputs of one shape, a large one slows everybody down.
 */
export function slowTogether(engines: readonly RoundTimes[]): NonNullable<Report["run"]>["slowTogether"] {
  const devices = new Set(engines.map(({ device }) => device));
  return [...devices].flatMap((device) => {
    const group = engines.filter((engine) => engine.device === device);
    const rounds = group[0]?.seconds.length ?? 0;
    // After a failure that counts for nobody, rounds no longer lie side by side.
    if (group.length < 2 || group.some(({ seconds }) => seconds.length !== rounds)) return [];
    const slow = group.map(({ seconds }) => slowRounds(seconds));
    const together = Array.from({ length: rounds }, (_, round) => slow.every((of) => of[round]));
    const found = together.filter(Boolean).length;
    const expectedRounds =
      rounds * slow.reduce((chance, of) => chance * (of.filter(Boolean).length / rounds), 1);
    if (found < fewestRounds || found < beyondChance * expectedRounds) return [];
    return [
      {
        device,
        engines: group.map(({ id }) => id),
        rounds: found,
        expectedRounds,
        longestStretch: longest(together),
      },
    ];
  });
}

function slowRounds(seconds: readonly (number | null)[]): boolean[] {
  const sorted = seconds.filter((time) => time !== null).toSorted((a, b) => a - b);
  const limit = slowRatio * (sorted[Math.floor(sorted.length / 2)] ?? Infinity);
  return seconds.map((time) => time === null || time > limit);
}

function longest(flags: readonly boolean[]): number {
  let [run, most] = [0, 0];
  for (const flag of flags) most = Math.max(most, (run = flag ? run + 1 : 0));
  return most;
}
