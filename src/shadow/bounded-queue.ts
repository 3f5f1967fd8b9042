/** First in, first out, never longer than its bound: what does not fit is refused, not kept waiting. */
export class BoundedQueue<T> {
  #items: T[] = [];

  get length(): number {
    return this.#items.length;
  }

  /** @returns false when the queue is full. */
  push(item: T, most: number): boolean {
    if (this.#items.length >= most) return false;
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    return this.#items.shift();
  }

  clear(): void {
    this.#items = [];
  }
}
