import type { Cancellation } from "../core/cancellation.ts";
import { GatewayError } from "../core/errors.ts";

/** How many requests of one model run and wait; the rest is turned away instead of being kept. */
export class Admission {
  readonly #concurrency: number;
  readonly #queue: number;
  readonly #model: string;
  #running = 0;
  #waiting = new Set<() => void>();

  constructor(model: string, limits: { readonly concurrency: number; readonly queue: number }) {
    this.#model = model;
    this.#concurrency = limits.concurrency;
    this.#queue = limits.queue;
  }

  get waiting(): number {
    return this.#waiting.size;
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
    if (this.#waiting.size >= this.#queue)
      throw new GatewayError(
        "busy",
        `model "${this.#model}" has ${this.#running} requests running and ${this.#waiting.size} waiting (limits.concurrency ${this.#concurrency}, limits.queue ${this.#queue}); try again later or raise the limits`,
        { retryAfterSeconds: 1 },
      );
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
