import type { Datatype, Tensor } from "../core/tensor.ts";

const leastBytes = 4096;
/** V8 copies into shared memory by words where both sides lie alike, and elsewhere by bytes: ten times as long. */
const wordBytes = 8;

/**
 * Tensors for inputs that wait, used again and again, objects and all. A request's own that waited would outlive two short
 * collections, which hold live requests up for the longer the more they find alive, and fill the old part of the heap, whose
 * collection held them up for 10 ms. The memory is shared with the thread that runs them, so that it is not copied once more.
 */
export class SpareMemory {
  /** By the size of their memory, which is a power of two. */
  #spare = new Map<number, OwnTensor[]>();
  #spareBytes = 0;
  #mostBytes: number;

  /** @param options.mostBytes of memory that nobody uses at the moment; what is more goes back to the heap */
  constructor({ mostBytes }: { readonly mostBytes: number }) {
    this.#mostBytes = mostBytes;
  }

  /** The same tensors in memory from here. */
  copy(tensors: readonly Tensor[]): readonly Tensor[] {
    return tensors.map(({ name, datatype, shape, data }) => {
      const own = this.#take(data.byteLength, data.byteOffset % wordBytes);
      own.name = name;
      own.datatype = datatype;
      if (!isSame(own.shape, shape)) own.shape = shape;
      own.data.set(data);
      return own;
    });
  }

  /** Of tensors from `copy` that nobody looks at any more. */
  giveBack(tensors: readonly Tensor[]): void {
    for (const tensor of tensors) {
      const size = tensor.data.buffer.byteLength - wordBytes;
      if (this.#spareBytes + size > this.#mostBytes) continue;
      const alike = this.#spare.get(size);
      if (alike) alike.push(tensor);
      else this.#spare.set(size, [tensor]);
      this.#spareBytes += size;
    }
  }

  #take(bytes: number, offset: number): OwnTensor {
    const size = Math.max(leastBytes, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
    const spare = this.#spare.get(size)?.pop();
    if (!spare) {
      const data = new Uint8Array(new SharedArrayBuffer(size + wordBytes), offset, bytes);
      return { name: "", datatype: "UINT8", shape: [], data };
    }
    this.#spareBytes -= size;
    const { data } = spare;
    if (data.byteLength !== bytes || data.byteOffset !== offset)
      spare.data = new Uint8Array(data.buffer, offset, bytes);
    return spare;
  }
}

/** A tensor as the pool writes it. */
interface OwnTensor {
  name: string;
  datatype: Datatype;
  shape: readonly number[];
  data: Uint8Array;
}

function isSame(one: readonly number[], other: readonly number[]): boolean {
  return one.length === other.length && one.every((size, at) => size === other[at]);
}
