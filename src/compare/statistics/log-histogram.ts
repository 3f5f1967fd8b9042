/**
 * Counts of non-negative numbers in buckets of equal relative width: each octave is cut into 2^bits parts, by the
 * bits of the double itself, so that adding costs no logarithm and no allocation. Memory is fixed at creation.
 *
 * Every bound it gives is on the safe side: `lowerEdge` is never above and `upperEdge` never below the true order
 * statistic, apart by at most 2^-bits relative. A class, because the comparing loop adds three times per element.
 */
export class LogHistogram {
  readonly range: LogRange;
  /** Bucket 0 holds [0, 2^from), the last one [2^to, Infinity). */
  readonly counts: Uint32Array;
  count = 0;
  minimum = Infinity;
  maximum = 0;

  readonly #shift: number;
  readonly #offset: number;
  readonly #last: number;

  constructor(range: LogRange) {
    this.range = range;
    this.#shift = 20 - range.bits;
    this.#offset = ((range.from + 1023) << range.bits) - 1;
    this.#last = ((range.to - range.from) << range.bits) + 1;
    this.counts = new Uint32Array(this.#last + 1);
  }

  /** @param value not NaN, at least 0. */
  add(value: number): void {
    this.count += 1;
    if (value > this.maximum) this.maximum = value;
    if (value < this.minimum) this.minimum = value;
    float[0] = value;
    const bucket = ((words[1] as number) >>> this.#shift) - this.#offset;
    const index = bucket < 0 ? 0 : bucket > this.#last ? this.#last : bucket;
    this.counts[index] = (this.counts[index] as number) + 1;
  }

  /** Adds `times` zeros at once. */
  addZeros(times: number): void {
    if (times === 0) return;
    this.count += times;
    this.minimum = 0;
    this.counts[0] = (this.counts[0] as number) + times;
  }

  clear(): void {
    this.counts.fill(0);
    this.count = 0;
    this.minimum = Infinity;
    this.maximum = 0;
  }

  /** At most the rank-th smallest value, 1 <= rank <= count. */
  lowerEdge(rank: number): number {
    return Math.max(this.#edge(this.#bucketOf(rank)), this.minimum);
  }

  /** At least the rank-th smallest value, 1 <= rank <= count. */
  upperEdge(rank: number): number {
    return Math.min(this.#edge(this.#bucketOf(rank) + 1), this.maximum);
  }

  /** The ceil(p n)-th smallest value, rounded up within its bucket; NaN when empty. */
  quantile(p: number): number {
    if (this.count === 0) return Number.NaN;
    return this.upperEdge(Math.min(this.count, Math.max(1, Math.ceil(p * this.count))));
  }

  snapshot(): LogHistogramSnapshot {
    const sparse: number[] = [];
    // By index: an iterator would make an array for each of the thousands of buckets.
    for (let index = 0; index <= this.#last; index += 1) {
      const count = this.counts[index] as number;
      if (count > 0) sparse.push(index, count);
    }
    return {
      range: this.range,
      sparse,
      minimum: this.count === 0 ? null : this.minimum,
      maximum: this.maximum,
    };
  }

  static restore(snapshot: LogHistogramSnapshot): LogHistogram {
    const histogram = new LogHistogram(snapshot.range);
    for (let at = 0; at + 1 < snapshot.sparse.length; at += 2) {
      const count = snapshot.sparse[at + 1] as number;
      histogram.counts[snapshot.sparse[at] as number] = count;
      histogram.count += count;
    }
    histogram.minimum = snapshot.minimum ?? Infinity;
    histogram.maximum = snapshot.maximum;
    return histogram;
  }

  #bucketOf(rank: number): number {
    let seen = 0;
    for (let index = 0; index <= this.#last; index += 1) {
      seen += this.counts[index] as number;
      if (seen >= rank) return index;
    }
    return this.#last;
  }

  /** Lower edge of a bucket. */
  #edge(index: number): number {
    if (index === 0) return 0;
    if (index > this.#last) return Infinity;
    words[0] = 0;
    words[1] = (index + this.#offset) << this.#shift;
    return float[0] as number;
  }
}

/** Octaves from 2^from to 2^to, each in 2^bits buckets. */
export interface LogRange {
  readonly from: number;
  readonly to: number;
  readonly bits: number;
}

/** Plain JSON; `sparse` is index, count, index, count, ... of the buckets that are not empty. */
export interface LogHistogramSnapshot {
  readonly range: LogRange;
  readonly sparse: readonly number[];
  readonly minimum: number | null;
  readonly maximum: number;
}

/** 0.24 us to 64 s in steps of 0.8 %. */
export const secondsRange: LogRange = { from: -22, to: 6, bits: 7 };

/** Scratch for the bits of a double; the tensors' layout is little-endian too. */
const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
