import type { Cancellation } from "../core/cancellation.ts";
import { GatewayError } from "../core/errors.ts";

/** How many requests of one model run and wait; the rest is turned away instead of being kept. */
export class Admission {
  readonly #concurrency: number;
  readonly #queue: number;
  /** Made once: it says the same each time, and noting where it came from is a tenth of the work of turning a request away. */
  readonly #busy: GatewayError;
  #running = 0;
  #waiting = new Set<() => void>();

  constructor(model: string, limits: { readonly concurrency: number; readonly queue: number }) {
    const { concurrency, queue } = limits;
    this.#concurrency = concurrency;
    this.#queue = queue;
    this.#busy = new GatewayError(
      "busy",
      `model "${model}" has ${concurrency} requests running and ${queue} waiting (limits.concurrency ${concurrency}, limits.queue ${queue}); try again later or raise the limits`,
      { retryAfterSeconds: 1 },
    );
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** @throws GatewayError `busy` when the queue is full. */
  check(): void {
    if (this.#running >= this.#concurrency && this.#waiting.size >= this.#queue) throw this.#busy;
  }

  /**
   * Resolves when the request may run; undefined when it may at once (the usual case costs no promise).
   * @throws GatewayError `busy` when the queue is full. Rejects with the cancellation's reason when that comes first.
   */
  enter(cancellation: Cancellation): Promise<void> | undefined {
    if (this.#running < this.#concurrency) {
      this.#running++;
      return undefined;
    }
    this.check();
    return new Promise((resolve, reject) => {
      const enter = () => {
        cancellation.removeListener(give);
        resolve();
      };
      const give = (reason: Error) => {
        this.#waiting.delete(enter);
        reject(reason);
      };
      this.#waiting.add(enter);
      cancellation.onCancel(give);
    });
  }

  /** Ends a request that had entered; its place goes to the one that has waited longest. */
  leave(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#running--;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
