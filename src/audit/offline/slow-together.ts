import { createDeadlineCounter } from "../../compare/statistics/deadline.ts";
import { percentile } from "../../compare/statistics/order-statistic.ts";
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
    const together = createDeadlineCounter();
    for (let round = 0; round < rounds; round += 1) together.add(slow.every((of) => of[round]));
    const { misses: found, longestRun } = together.result();
    const expectedRounds =
      rounds * slow.reduce((chance, of) => chance * (of.filter(Boolean).length / rounds), 1);
    if (found < fewestRounds || found < beyondChance * expectedRounds) return [];
    return [
      {
        device,
        engines: group.map(({ id }) => id),
        rounds: found,
        expectedRounds,
        longestStretch: longestRun,
      },
    ];
  });
}

function slowRounds(seconds: readonly (number | null)[]): boolean[] {
  const sorted = seconds.filter((time) => time !== null).toSorted((a, b) => a - b);
  const limit = slowRatio * percentile(sorted, 0.5);
  return seconds.map((time) => time === null || time > limit);
}
