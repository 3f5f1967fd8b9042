import type { Tensor } from "../core/tensor.ts";
import { cutOf } from "./cut.ts";
import type { SegmentationDifference } from "./difference.ts";
import { isWhole, numbers } from "./elements.ts";
import { changedLabels } from "./labels.ts";

/**
 * Pixels whose class changed between two tensors: scores [N, C, H, W] by argmax over C, one channel by its cut, whole
 * numbers as class labels.
 */
export function compareSegments(reference: Tensor, candidate: Tensor): SegmentationDifference {
  if (isWhole(reference)) {
    const { elements, changed } = changedLabels(reference, candidate);
    return { pixels: elements, flips: changed };
  }
  const a = numbers(reference, 0);
  const b = numbers(candidate, 1);
  const { shape } = reference;
  if (a.length === 0) return { pixels: 0, flips: 0 };
  const images = shape.length === 4 ? (shape[0] as number) : 1;
  const channels = shape.length >= 3 ? (shape.at(-3) as number) : 1;
  if (channels === 1) {
    const cut = cutOf(a);
    return { pixels: a.length, flips: countWhere(a, b, (x, y) => x > cut !== y > cut) };
  }
  const area = a.length / (images * channels);
  let flips = 0;
  for (let image = 0; image < images; image += 1) {
    const from = image * channels * area;
    // A strip of pixels at a time, channel by channel, so that memory is read in order.
    for (let start = 0; start < area; start += strip) {
      const count = Math.min(strip, area - start);
      classesOf(a, from + start, area, channels, count, classA);
      classesOf(b, from + start, area, channels, count, classB);
      for (let i = 0; i < count; i += 1) if (classA[i] !== classB[i]) flips += 1;
    }
  }
  return { pixels: images * area, flips };
}

const strip = 2048;
const best = new Float64Array(strip);
const classA = new Int32Array(strip);
const classB = new Int32Array(strip);

function classesOf(
  values: ArrayLike<number>,
  from: number,
  area: number,
  channels: number,
  count: number,
  classes: Int32Array,
): void {
  best.fill(Number.NEGATIVE_INFINITY);
  // NaN in every channel is a class of its own.
  classes.fill(-1);
  for (let channel = 0; channel < channels; channel += 1) {
    const at = from + channel * area;
    for (let i = 0; i < count; i += 1) {
      const value = values[at + i] as number;
      if (value > (best[i] as number)) {
        best[i] = value;
        classes[i] = channel;
      }
    }
  }
}

function countWhere(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  differs: (x: number, y: number) => boolean,
): number {
  let count = 0;
  for (let i = 0; i < a.length; i += 1) if (differs(a[i] as number, b[i] as number)) count += 1;
  return count;
}
