/**
 * A request's end before its answer (its client has gone, its time is up), told to whoever works on it. What AbortSignal
 * does, for the hot path alone: making one of node's takes some 10 us of processor time, this is a plain object.
 */
export class Cancellation {
  #reason: Error | undefined;
  #listeners: ((reason: Error) => void)[] = [];

  /** Why; undefined while the answer is still wanted. */
  get reason(): Error | undefined {
    return this.#reason;
  }

  /** The first call counts. */
  cancel(reason: Error): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    for (const listener of this.#listeners.splice(0)) listener(reason);
  }

  /** The listener is called once, at once if it is too late already. */
  onCancel(listener: (reason: Error) => void): void {
    if (this.#reason === undefined) this.#listeners.push(listener);
    else listener(this.#reason);
  }

  removeListener(listener: (reason: Error) => void): void {
    const at = this.#listeners.indexOf(listener);
    if (at !== -1) this.#listeners.splice(at, 1);
  }

  /** @throws the reason */
  throwIfCancelled(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }
}
