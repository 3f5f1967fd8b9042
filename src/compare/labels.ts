import { elementCount, type Tensor } from "../core/tensor.ts";
import { chunk, chunkReader, chunkSize } from "./elements.ts";

/** Elements of two tensors of whole numbers that are not equal, exactly for 64-bit ones too. */
export function changedLabels(reference: Tensor, candidate: Tensor): { elements: number; changed: number } {
  const elements = elementCount(reference.shape);
  const read = chunkReader(reference, candidate);
  let changed = 0;
  for (let start = 0; start < elements; start += chunkSize) {
    const count = Math.min(chunkSize, elements - start);
    read(start, count);
    for (let i = 0; i < count; i += 1) if (chunk.ulp[i] !== 0) changed += 1;
  }
  return { elements, changed };
}
