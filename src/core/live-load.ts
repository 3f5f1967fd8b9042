/** Live requests as work beside them sees it, so that it keeps out of their way. */
export interface LiveLoad {
  /** Requests being answered at this moment, over all models. */
  readonly inFlight: number;
  /** Requests begun, modulo 2^32; a change tells that one came in between. */
  readonly begun: number;
}

const inFlightAt = 0;
const begunAt = 1;

/**
 * The same, for who serves the requests. It counts in memory that another thread can look at, and wakes nobody there:
 * waking a thread would cost the one that serves more than all the rest.
 */
export class LiveLoadCounter implements LiveLoad {
  /** For a counter in another thread that looks at this one's. */
  readonly memory: SharedArrayBuffer;
  /** Called when the last of the requests under way has been answered. */
  onIdle: () => void = () => {};
  #counts: Int32Array;

  constructor(memory = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#counts = new Int32Array(memory);
  }

  get inFlight(): number {
    return Atomics.load(this.#counts, inFlightAt);
  }

  get begun(): number {
    return Atomics.load(this.#counts, begunAt);
  }

  begin(): void {
    Atomics.add(this.#counts, inFlightAt, 1);
    Atomics.add(this.#counts, begunAt, 1);
  }

  end(): void {
    if (Atomics.sub(this.#counts, inFlightAt, 1) === 1) this.onIdle();
  }
}
