import type { Tensor } from "../core/tensor.ts";
import { cutOf } from "./cut.ts";
import type { ClassificationDifference } from "./difference.ts";
import { isWhole, numbers } from "./elements.ts";
import { changedLabels } from "./labels.ts";

/**
 * Top-1 and top-k flips, margin and divergence of two score tensors [N, C], [C] or [N, C, 1, ...]. Rows that are
 * probabilities on both sides (none negative, sum 1 within 1e-3) are taken as they are, others through softmax. A
 * single class flips at its cut; whole numbers are class labels, each a row, or quantised scores (see `holdsLabels`).
 */
export function compareClasses(reference: Tensor, candidate: Tensor, topK = 5): ClassificationDifference {
  if (holdsLabels(reference)) {
    const { elements, changed } = changedLabels(reference, candidate);
    return { ...withoutScores, rows: elements, top1Flips: changed };
  }
  const a = numbers(reference, 0);
  const b = numbers(candidate, 1);
  const batch = rowsOf(reference);
  const rows = a.length === 0 ? 0 : batch;
  const classes = a.length / batch;
  if (classes === 1) return compareSingleClass(a, b);
  // Quantised scores are of a scale that is not known here, so their probabilities are not either.
  const quantised = isWhole(reference);
  const k = Math.min(topK, classes - 1);
  let top1Flips = 0;
  let topKFlips = 0;
  let margin = Infinity;
  let exposed = 0;
  let kl = Number.NaN;
  let js = Number.NaN;
  for (let row = 0; row < rows; row += 1) {
    const from = row * classes;
    const best = argmax(a, from, classes);
    const flipped = best !== argmax(b, from, classes);
    if (flipped) top1Flips += 1;
    if (k > 0 && !sameTop(a, b, from, classes, k)) topKFlips += 1;
    const rowMargin = best === -1 ? Infinity : marginOf(a, from, classes, best);
    margin = Math.min(margin, rowMargin);
    if (flipped || 2 * largestDifference(a, b, from, classes) >= rowMargin) exposed += 1;
    if (quantised) continue;
    const divergence = divergences(a, b, from, classes);
    kl = larger(kl, divergence.kl);
    js = larger(js, divergence.js);
  }
  return { rows, top1Flips, topKFlips, margin, exposed, kl, js };
}

/**
 * The class that an output of one row decides for, read as `compareClasses` reads it; a single class counts as 1 above
 * its cut, else as 0. Null for several rows, and where nothing but NaN leaves no class.
 */
export function decidedClass(scores: Tensor): number | null {
  const values = numbers(scores);
  if (holdsLabels(scores)) return values.length === 1 ? (values[0] as number) : null;
  if (rowsOf(scores) !== 1) return null;
  const best = argmax(values, 0, values.length);
  if (best === -1) return null;
  return values.length === 1 ? Number((values[0] as number) > cutOf(values)) : best;
}

/**
 * Whole numbers of a classifier are labels, as ArgMax gives them. More than one of 8 or 16 bits in a row are the
 * scores of a quantised model.
 */
export function holdsLabels({ datatype, shape }: Pick<Tensor, "datatype" | "shape">): boolean {
  if (!isWhole({ datatype })) return false;
  const classes = (shape.length > 1 ? shape.slice(1) : shape).reduce((a, b) => a * b, 1);
  return !(/^U?INT(8|16)$/.test(datatype) && classes > 1);
}

function rowsOf({ shape }: Tensor): number {
  return shape.length > 1 ? (shape[0] as number) : 1;
}

const withoutScores = {
  topKFlips: 0,
  margin: Infinity,
  exposed: 0,
  kl: Number.NaN,
  js: Number.NaN,
};

/** The margin is twice the distance from the cut: that of two scores which add up to 1. */
function compareSingleClass(a: ArrayLike<number>, b: ArrayLike<number>): ClassificationDifference {
  const cut = cutOf(a);
  const total = { ...withoutScores, rows: a.length, top1Flips: 0 };
  for (let row = 0; row < a.length; row += 1) {
    const x = a[row] as number;
    const y = b[row] as number;
    const flipped = x > cut !== y > cut || Number.isNaN(x) !== Number.isNaN(y);
    if (flipped) total.top1Flips += 1;
    if (flipped || Math.abs(x - y) >= Math.abs(x - cut)) total.exposed += 1;
    if (!Number.isNaN(x)) total.margin = Math.min(total.margin, 2 * Math.abs(x - cut));
  }
  return total;
}

/** NaN only when both are: one row without a figure must not hide the others'. */
function larger(a: number, b: number): number {
  return Number.isNaN(b) || a >= b ? a : b;
}

/** First index of the largest value within the row; NaN never wins, and a row of nothing else gives -1. */
function argmax(values: ArrayLike<number>, from: number, count: number): number {
  let best = -1;
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i += 1) {
    const value = values[from + i] as number;
    if (value > largest || (best === -1 && value === largest)) {
      largest = value;
      best = i;
    }
  }
  return best;
}

/** By how much the best class wins; two infinite ones are equal. */
function marginOf(values: ArrayLike<number>, from: number, count: number, best: number): number {
  const first = values[from + best] as number;
  const second = secondBest(values, from, count, best);
  return first === second ? 0 : first - second;
}

function secondBest(values: ArrayLike<number>, from: number, count: number, best: number): number {
  let second = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i += 1) {
    const value = values[from + i] as number;
    if (i !== best && value > second) second = value;
  }
  return second;
}

/** Do the k best of both rows name the same classes? Ties go to the lower index on both sides. */
function sameTop(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  from: number,
  count: number,
  k: number,
): boolean {
  const top = new Set(topClasses(a, from, count, k));
  const others = topClasses(b, from, count, k);
  // NaN is no class: a row may have fewer.
  return others.length === top.size && others.every((index) => top.has(index));
}

/** k passes, each for the best that is not taken yet: k is small, and nothing is sorted. */
function topClasses(values: ArrayLike<number>, from: number, count: number, k: number): number[] {
  const taken: number[] = [];
  while (taken.length < k) {
    let best = -1;
    for (let i = 0; i < count; i += 1) {
      const value = values[from + i] as number;
      if (
        (best === -1 || value > (values[from + best] as number)) &&
        !Number.isNaN(value) &&
        !taken.includes(i)
      )
        best = i;
    }
    if (best === -1) break;
    taken.push(best);
  }
  return taken;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>, from: number, count: number): number {
  let largest = 0;
  for (let i = from; i < from + count; i += 1)
    largest = Math.max(largest, Math.abs((a[i] as number) - (b[i] as number)));
  return largest;
}

/** A candidate probability of 0 counts as 1e-12, so that KL stays finite. */
const smallest = 1e-12;

function divergences(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  from: number,
  count: number,
): { kl: number; js: number } {
  const sumA = sumOf(a, from, count);
  const sumB = sumOf(b, from, count);
  const raw = isOne(sumA) && isOne(sumB);
  const normA = raw ? sumA : logSumExp(a, from, count);
  const normB = raw ? sumB : logSumExp(b, from, count);
  if (Number.isNaN(normA + normB)) return { kl: Number.NaN, js: Number.NaN };
  let kl = 0;
  let js = 0;
  for (let i = from; i < from + count; i += 1) {
    // By their sums, which rounding moves by more than distributions that differ by rounding diverge.
    const p = raw ? (a[i] as number) / normA : Math.exp((a[i] as number) - normA);
    const q = raw ? (b[i] as number) / normB : Math.exp((b[i] as number) - normB);
    const middle = (p + q) / 2;
    if (p > 0) {
      kl += p * Math.log(p / Math.max(q, smallest));
      js += 0.5 * p * Math.log(p / middle);
    }
    if (q > 0) js += 0.5 * q * Math.log(q / middle);
  }
  // Rounding may leave a hair below 0.
  return { kl: kl < 0 ? 0 : kl, js: js < 0 ? 0 : js };
}

/** NaN where a value is negative or none: no probabilities. */
function sumOf(values: ArrayLike<number>, from: number, count: number): number {
  let sum = 0;
  for (let i = from; i < from + count; i += 1) {
    const value = values[i] as number;
    if (!(value >= 0)) return Number.NaN;
    sum += value;
  }
  return sum;
}

function isOne(sum: number): boolean {
  return Math.abs(sum - 1) <= 1e-3;
}

function logSumExp(values: ArrayLike<number>, from: number, count: number): number {
  const largest = values[from + Math.max(0, argmax(values, from, count))] as number;
  let sum = 0;
  for (let i = from; i < from + count; i += 1) sum += Math.exp((values[i] as number) - largest);
  return largest + Math.log(sum);
}
