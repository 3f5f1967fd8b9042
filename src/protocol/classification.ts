import type { Tensor } from "../core/tensor.ts";
import { elementCount, typedView } from "../core/tensor.ts";
import { shortestFloat32 } from "./float-digits.ts";

export interface Classes {
  readonly datatype: "BYTES";
  /** [batch, k], or [k] for an output of rank 1 or less. */
  readonly shape: readonly number[];
  /** `value:index` or `value:index:label`, largest value first. */
  readonly strings: readonly string[];
  /** The strings in BYTES' binary form: u32 length and bytes of each. */
  bytes(): Uint8Array;
}

/**
 * Triton's classification extension: the `count` largest elements of each row, where the first axis of an output of
 * rank 2 or more is the batch. Equal values keep their order; NaN comes last.
 */
export function classify(tensor: Tensor, count: number, labels?: readonly string[]): Classes {
  const batched = tensor.shape.length > 1;
  const rows = batched ? (tensor.shape[0] ?? 0) : 1;
  const width = elementCount(batched ? tensor.shape.slice(1) : tensor.shape);
  const k = Math.min(count, width);
  const values = typedView(tensor.datatype, tensor.data);
  const strings: string[] = [];
  for (let row = 0; row < rows; row += 1) {
    const scores = values.subarray(row * width, (row + 1) * width);
    for (const index of largest(scores, k)) {
      const label = labels?.[index];
      strings.push(`${scoreText(scores, index)}:${index}${label === undefined ? "" : `:${label}`}`);
    }
  }
  return {
    datatype: "BYTES",
    shape: batched ? [rows, k] : [k],
    strings,
    bytes: () => lengthPrefixed(strings),
  };
}

type Scores = ReturnType<typeof typedView>;

function largest(scores: Scores, k: number): Iterable<number> {
  if (k === 1) return [indexOfLargest(scores)];
  const rank = (index: number): number | bigint => {
    const value = scores[index] ?? 0;
    return Number.isNaN(value) ? -Infinity : value;
  };
  const order = Uint32Array.from({ length: scores.length }, (_, index) => index);
  return order
    .sort((a, b) => {
      const left = rank(a);
      const right = rank(b);
      return left === right ? a - b : left > right ? -1 : 1;
    })
    .subarray(0, k);
}

function indexOfLargest(scores: Scores): number {
  let best = 0;
  for (let index = 1; index < scores.length; index += 1) {
    const held = scores[best] ?? 0;
    // A NaN in the first place gives way to any number.
    if ((scores[index] ?? 0) > held || (Number.isNaN(held) && !Number.isNaN(scores[index]))) best = index;
  }
  return best;
}

/** FP32 with the digits that a float has, not those of the double it is held in. */
function scoreText(scores: Scores, index: number): string {
  const value = scores[index] ?? 0;
  return scores instanceof Float32Array ? shortestFloat32(Number(value)) : String(value);
}

function lengthPrefixed(strings: readonly string[]): Uint8Array {
  const texts = strings.map((text) => Buffer.from(text));
  const out = Buffer.allocUnsafe(texts.reduce((sum, text) => sum + 4 + text.byteLength, 0));
  let at = 0;
  for (const text of texts) {
    out.writeUInt32LE(text.byteLength, at);
    text.copy(out, at + 4);
    at += 4 + text.byteLength;
  }
  return out;
}
