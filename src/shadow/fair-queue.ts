/**
 * First in, first out for each key, the keys in turn, none longer than its bound: what does not fit is refused, not
 * kept waiting, and a busy key takes nothing from the others.
 */
export class FairQueue<T> {
  #queues = new Map<string, T[]>();

  get length(): number {
    let length = 0;
    for (const items of this.#queues.values()) length += items.length;
    return length;
  }

  /** @returns false when the key's queue is full. */
  push(key: string, item: T, most: number): boolean {
    const items = this.#queues.get(key) ?? [];
    if (items.length >= most) return false;
    items.push(item);
    this.#queues.set(key, items);
    return true;
  }

  shift(): T | undefined {
    for (const [key, items] of this.#queues) {
      const item = items.shift();
      // Goes to the end of the turns, or out of them.
      this.#queues.delete(key);
      if (items.length > 0) this.#queues.set(key, items);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  clear(): void {
    this.#queues.clear();
  }
}
