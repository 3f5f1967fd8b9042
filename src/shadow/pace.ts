import type { LiveLoad } from "../core/live-load.ts";

/** How many inputs are run beside the live ones: a share of the requests that come, or so many a second, whichever is more. */
export interface Pace {
  readonly share: number;
  readonly perSecond: number;
}

export type PaceName = keyof typeof paces;

export const paces = {
  /**
   * Each input costs live requests a little, however idle the machine was when its runs began, and the verdicts take one
   * observation a block of a second: more than this tells hardly more.
   */
  usual: { share: 1 / 9, perSecond: 150 },
  /**
   * On a GPU that processes have in turns, the live run after a shadow run waits for the GPU to be switched back: 0.13 ms on
   * an H200, twice the time of a small engine (docs/results/tensorrt-h200.md).
   */
  inTurns: { share: 0, perSecond: 20 },
} as const satisfies Record<string, Pace>;

/** What has been saved up is taken at once: requests come in bursts. */
const mostSaved = 4;
/**
 * Requests come at random, so either count has some saved up now and then; what one allows is owed to the other, or both
 * together would take more than the larger of them (measured: 173 a second where 161 and 150 are allowed). Not for long.
 */
const mostOwed = 32;

/** Counts what the pace has earned since it was last asked. */
export class Pacer {
  readonly #pace: Pace;
  readonly #load: Pick<LiveLoad, "begun">;
  readonly #seconds: () => number;
  #begun: number;
  #at: number;
  /** Earned by requests, and by time. */
  #ofShare = mostSaved;
  #ofTime = mostSaved;

  constructor(
    pace: Pace,
    { load, seconds }: { readonly load: Pick<LiveLoad, "begun">; readonly seconds: () => number },
  ) {
    this.#pace = pace;
    this.#load = load;
    this.#seconds = seconds;
    this.#begun = load.begun;
    this.#at = seconds();
  }

  /** Takes an input's place when there is one. */
  take(): boolean {
    const { share, perSecond } = this.#pace;
    const { begun } = this.#load;
    const now = this.#seconds();
    // The count is of 32 bits and goes round.
    this.#ofShare = Math.min(mostSaved, this.#ofShare + share * ((begun - this.#begun) >>> 0));
    this.#ofTime = Math.min(mostSaved, this.#ofTime + perSecond * (now - this.#at));
    this.#begun = begun;
    this.#at = now;
    if (this.#ofShare < 1 && this.#ofTime < 1) return false;
    this.#ofShare = Math.max(-mostOwed, this.#ofShare - 1);
    this.#ofTime = Math.max(-mostOwed, this.#ofTime - 1);
    return true;
  }
}
