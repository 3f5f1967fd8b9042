/** Live requests as work beside them sees it, so that it keeps out of their way. */
export interface LiveLoad {
  /** Requests being answered at this moment, over all models. */
  readonly inFlight: number;
  /** Requests begun since the gateway started; a change tells that one came in between. */
  readonly begun: number;
  /** Calls back once, in the next moment in which the last reply is out and nothing is in flight. */
  onIdle(listener: () => void): void;
  removeListener(listener: () => void): void;
}

/** The same, for who serves the requests. */
export class LiveLoadCounter implements LiveLoad {
  inFlight = 0;
  begun = 0;
  #listeners = new Set<() => void>();

  begin(): void {
    this.inFlight++;
    this.begun++;
  }

  end(): void {
    this.inFlight--;
    if (this.inFlight === 0 && this.#listeners.size > 0) setImmediate(() => this.#tell());
  }

  onIdle(listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeListener(listener: () => void): void {
    this.#listeners.delete(listener);
  }

  #tell(): void {
    if (this.inFlight > 0) return;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }
}
