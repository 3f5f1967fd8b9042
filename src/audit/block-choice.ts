import type { Random } from "../compare/statistics/random.ts";

/**
 * One observation per block of time: misses and flips come in bursts (video), and the tests of rates hold for
 * observations that do not. Which one of a block counts is drawn without looking at it (reservoir sampling), and it
 * is handed on when the next block begins.
 */
export interface BlockChoice<T> {
  add(blockId: number, observation: T): void;
  /** Hands on the choice of the block under way: nothing more is to come. */
  flush(): void;
  /** The choice of the block under way. */
  chosen(): T | null;
}

/** @param restored the choice of a block before a restart; clocks differ, so the next block begins at once. */
export function createBlockChoice<T>(
  random: Random,
  onChosen: (observation: T) => void,
  restored: T | null = null,
): BlockChoice<T> {
  let blockId = Number.NEGATIVE_INFINITY;
  let seen = 0;
  let chosen = restored;
  function flush(): void {
    if (chosen !== null) onChosen(chosen);
    chosen = null;
  }
  return {
    add(id, observation) {
      // One that comes late for its block joins the current one: dropping it would favour quick answers.
      if (id > blockId) {
        flush();
        blockId = id;
        seen = 0;
      }
      seen += 1;
      if (random.next() * seen < 1) chosen = observation;
    },
    flush,
    chosen: () => chosen,
  };
}
