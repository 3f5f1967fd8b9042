import type { Random } from "../compare/statistics/random.ts";

/**
 * One observation per block of time: misses and flips come in bursts (video), and the tests of rates hold for
 * observations that do not. Which one of a block counts is drawn without looking at it (reservoir sampling), and it
 * is handed on when the next block begins.
 */
export interface BlockChoice<T> {
  add(blockId: number, observation: T): void;
  snapshot(): BlockChoiceSnapshot<T>;
}

export interface BlockChoiceSnapshot<T> {
  readonly blockId: number;
  readonly seen: number;
  readonly chosen: T | null;
}

export function createBlockChoice<T>(
  random: Random,
  onChosen: (observation: T) => void,
  snapshot?: BlockChoiceSnapshot<T>,
): BlockChoice<T> {
  let { blockId, seen, chosen } = snapshot ?? { blockId: -1, seen: 0, chosen: null };
  return {
    add(id, observation) {
      // One that comes late for its block joins the current one: dropping it would favour quick answers.
      if (id > blockId) {
        if (chosen !== null) onChosen(chosen);
        blockId = id;
        seen = 0;
        chosen = null;
      }
      seen += 1;
      if (random.next() * seen < 1) chosen = observation;
    },
    snapshot: () => ({ blockId, seen, chosen }),
  };
}
