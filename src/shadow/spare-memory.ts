import type { Tensor } from "../core/tensor.ts";

const leastBytes = 4096;

/**
 * Memory for the tensors of inputs that wait, used again and again. A request's own tensors that waited would outlive
 * two short collections and fill the old part of the heap: collecting that once a second held live requests up for 10 ms.
 * It is shared with the thread that runs them, so that they are not copied once more.
 */
export class SpareMemory {
  /** By size, which is a power of two. */
  #spare = new Map<number, SharedArrayBuffer[]>();
  #spareBytes = 0;
  #mostBytes: number;

  /** @param options.mostBytes of memory that nobody uses at the moment; what is more goes back to the heap */
  constructor({ mostBytes }: { readonly mostBytes: number }) {
    this.#mostBytes = mostBytes;
  }

  /** The same tensors in memory from here. */
  copy(tensors: readonly Tensor[]): readonly Tensor[] {
    return tensors.map(({ name, datatype, shape, data }) => {
      const own = new Uint8Array(this.#take(sizeOf(data)), 0, data.byteLength);
      own.set(data);
      return { name, datatype, shape, data: own };
    });
  }

  /** Of tensors from `copy` that nobody looks at any more. */
  giveBack(tensors: readonly Tensor[]): void {
    for (const { data } of tensors) {
      const memory = data.buffer as SharedArrayBuffer;
      if (this.#spareBytes + memory.byteLength > this.#mostBytes) continue;
      const alike = this.#spare.get(memory.byteLength);
      if (alike) alike.push(memory);
      else this.#spare.set(memory.byteLength, [memory]);
      this.#spareBytes += memory.byteLength;
    }
  }

  #take(bytes: number): SharedArrayBuffer {
    const memory = this.#spare.get(bytes)?.pop();
    if (!memory) return new SharedArrayBuffer(bytes);
    this.#spareBytes -= bytes;
    return memory;
  }
}

function sizeOf({ byteLength }: Uint8Array): number {
  return Math.max(leastBytes, 2 ** Math.ceil(Math.log2(Math.max(1, byteLength))));
}
