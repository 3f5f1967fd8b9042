/**
 * First in, first out for each key, the keys in turn. None is longer than its bound, so that a busy key takes no turns
 * from the others, and all together are no larger than theirs; what does not fit is refused, not kept waiting.
 */
export class FairQueue<T> {
  #queues = new Map<string, { readonly item: T; readonly bytes: number }[]>();
  #mostBytes: number;
  #bytes = 0;

  constructor({ mostBytes }: { readonly mostBytes: number }) {
    this.#mostBytes = mostBytes;
  }

  get length(): number {
    let length = 0;
    for (const entries of this.#queues.values()) length += entries.length;
    return length;
  }

  /**
   * @param make the item, asked for only when there is room
   * @returns false when the key's queue is full, or all of them together are
   */
  push(
    key: string,
    make: () => T,
    { most, bytes }: { readonly most: number; readonly bytes: number },
  ): boolean {
    const entries = this.#queues.get(key) ?? [];
    if (entries.length >= most || this.#bytes + bytes > this.#mostBytes) return false;
    entries.push({ item: make(), bytes });
    this.#queues.set(key, entries);
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

  /** Takes out what has waited too long; the first of a key has waited longest. */
  shed(expired: (item: T) => boolean): T[] {
    const shed: T[] = [];
    for (const [key, entries] of this.#queues) {
      for (let [first] = entries; first && expired(first.item); [first] = entries) {
        entries.shift();
        this.#bytes -= first.bytes;
        shed.push(first.item);
      }
      if (entries.length === 0) this.#queues.delete(key);
    }
    return shed;
  }

  clear(): void {
    this.#queues.clear();
    this.#bytes = 0;
  }
}
