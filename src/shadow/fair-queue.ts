/**
 * First in, first out for each key, the keys in turn. None is longer than its bound, so that a busy key takes no turns
 * from the others, and all together are no larger than theirs; what does not fit is refused, not kept waiting.
 */
export class FairQueue<T> {
  #queues = new Map<string, { readonly item: T; readonly bytes: number }[]>();
  #mostBytes: number;
  #expired: (item: T) => boolean;
  #onExpired: (item: T) => void;
  #bytes = 0;

  /** @param options.expired it has waited too long: it gives its place to what comes, and is told of */
  constructor(options: {
    readonly mostBytes: number;
    readonly expired: (item: T) => boolean;
    readonly onExpired: (item: T) => void;
  }) {
    this.#mostBytes = options.mostBytes;
    this.#expired = options.expired;
    this.#onExpired = options.onExpired;
  }

  get length(): number {
    let length = 0;
    for (const entries of this.#queues.values()) length += entries.length;
    return length;
  }

  /** Whether the key has fewer than `most`; to be asked before the rest is found out, for on a busy gateway it mostly has not. */
  hasPlace(key: string, most: number): boolean {
    const entries = this.#queues.get(key);
    if (!entries || entries.length < most) return true;
    this.#shed(entries);
    return entries.length < most;
  }

  /**
   * @param make the item, asked for only when there is room
   * @returns false when the queues are full, all of them together
   */
  push(key: string, bytes: number, make: () => T): boolean {
    if (this.#bytes + bytes > this.#mostBytes)
      for (const entries of this.#queues.values()) this.#shed(entries);
    if (this.#bytes + bytes > this.#mostBytes) return false;
    const entry = { item: make(), bytes };
    const entries = this.#queues.get(key);
    if (entries) entries.push(entry);
    else this.#queues.set(key, [entry]);
    this.#bytes += bytes;
    return true;
  }

  shift(): T | undefined {
    for (const [key, entries] of this.#queues) {
      const first = entries.shift();
      // Goes to the end of the turns, or out of them.
      this.#queues.delete(key);
      if (entries.length > 0) this.#queues.set(key, entries);
      if (!first) continue;
      this.#bytes -= first.bytes;
      return first.item;
    }
    return undefined;
  }

  /** The first of a key has waited longest. */
  #shed(entries: { readonly item: T; readonly bytes: number }[]): void {
    for (let [first] = entries; first && this.#expired(first.item); [first] = entries) {
      entries.shift();
      this.#bytes -= first.bytes;
      this.#onExpired(first.item);
    }
  }

  clear(): void {
    this.#queues.clear();
    this.#bytes = 0;
  }
}
