import { elementCount, type Tensor } from "../core/tensor.ts";
import type { NotFinite, OutputDifference, Spread } from "./difference.ts";
import { chunk, chunkReader, chunkSize, isWhole } from "./elements.ts";
import type { Limits } from "./options.ts";
import { LogHistogram } from "./statistics/log-histogram.ts";

/**
 * Compares two tensors of the same name, datatype and shape in one pass. Memory is constant: three histograms and
 * one chunk, shared by all comparisons of a thread.
 */
export function compareOutput(reference: Tensor, candidate: Tensor, limits: Limits): OutputDifference {
  const { name, datatype, shape } = reference;
  const elements = elementCount(shape);
  const bitEqual = Buffer.compare(reference.data, candidate.data) === 0;
  if (bitEqual) {
    const notFinite = countNotFinite(reference, elements);
    return {
      name,
      datatype,
      elements,
      bitEqual,
      reference: notFinite,
      candidate: notFinite,
      notComparable: 0,
      outside: 0,
      abs: zero,
      rel: zero,
      ulp: zero,
      l2: 0,
      cosine: 1,
    };
  }
  return { name, datatype, elements, bitEqual, ...pass(reference, candidate, elements, limits) };
}

type PassResult = Omit<OutputDifference, "name" | "datatype" | "elements" | "bitEqual">;

function pass(reference: Tensor, candidate: Tensor, elements: number, limits: Limits): PassResult {
  abs.clear();
  rel.clear();
  ulp.clear();
  const read = chunkReader(reference, candidate);
  const { abs: atol, rel: rtol } = limits;
  const numpy = limits.rule === "numpy";
  const whole = isWhole(reference);
  let equal = 0;
  let outside = 0;
  let notComparable = 0;
  let nanA = 0;
  let nanB = 0;
  let infiniteA = 0;
  let infiniteB = 0;
  let dot = 0;
  let squaresA = 0;
  let squaresB = 0;
  let squaresOff = 0;
  for (let start = 0; start < elements; start += chunkSize) {
    const count = Math.min(chunkSize, elements - start);
    read(start, count);
    for (let i = 0; i < count; i += 1) {
      const a = chunk.reference[i] as number;
      const b = chunk.candidate[i] as number;
      const off = b - a;
      if (!Number.isFinite(off)) {
        if (Number.isNaN(a)) nanA += 1;
        else if (!Number.isFinite(a)) infiniteA += 1;
        if (Number.isNaN(b)) nanB += 1;
        else if (!Number.isFinite(b)) infiniteB += 1;
        if (!Object.is(a, b)) notComparable += 1;
        continue;
      }
      dot += a * b;
      squaresA += a * a;
      squaresB += b * b;
      // Whole numbers beyond 2^53 may differ and yet be the same double.
      const distance = chunk.ulp[i] as number;
      if (off === 0 && distance === 0) {
        equal += 1;
        continue;
      }
      const absolute = whole ? distance : Math.abs(off);
      const magnitude = Math.abs(a);
      const relative = absolute / (magnitude === 0 ? 2.220446049250313e-16 : magnitude);
      squaresOff += absolute * absolute;
      abs.add(absolute);
      rel.add(relative);
      ulp.add(distance);
      if (numpy ? absolute > atol + rtol * magnitude : absolute > atol && relative > rtol) outside += 1;
    }
  }
  for (const histogram of [abs, rel, ulp]) histogram.addZeros(equal);
  return {
    reference: { nan: nanA, infinite: infiniteA },
    candidate: { nan: nanB, infinite: infiniteB },
    notComparable,
    outside,
    abs: spread(abs),
    rel: spread(rel),
    ulp: spread(ulp),
    l2: Math.sqrt(squaresOff),
    cosine: cosine(dot, squaresA, squaresB),
  };
}

/** 3 % wide buckets from 1e-19 to 1e19. */
const range = { from: -64, to: 64, bits: 5 };
const abs = new LogHistogram(range);
const rel = new LogHistogram(range);
const ulp = new LogHistogram(range);
const zero: Spread = { max: 0, p50: 0, p99: 0 };

function spread(histogram: LogHistogram): Spread {
  if (histogram.count === 0) return zero;
  return { max: histogram.maximum, p50: histogram.quantile(0.5), p99: histogram.quantile(0.99) };
}

function cosine(dot: number, squaresA: number, squaresB: number): number {
  if (squaresA === 0 && squaresB === 0) return 1;
  if (squaresA === 0 || squaresB === 0) return 0;
  // Roots taken one by one: the product of the squares may leave the range of a double.
  return Math.min(1, Math.max(-1, dot / Math.sqrt(squaresA) / Math.sqrt(squaresB)));
}

function countNotFinite(tensor: Tensor, elements: number): NotFinite {
  let nan = 0;
  let infinite = 0;
  if (floats.has(tensor.datatype)) {
    const read = chunkReader(tensor, tensor);
    for (let start = 0; start < elements; start += chunkSize) {
      const count = Math.min(chunkSize, elements - start);
      read(start, count);
      for (let i = 0; i < count; i += 1) {
        const value = chunk.reference[i] as number;
        if (Number.isNaN(value)) nan += 1;
        else if (!Number.isFinite(value)) infinite += 1;
      }
    }
  }
  return { nan, infinite };
}

const floats: ReadonlySet<string> = new Set(["FP16", "BF16", "FP32", "FP64"]);
