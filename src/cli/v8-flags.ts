import { setFlagsFromString } from "node:v8";

/**
 * How much the heap may grow between two full collections, in percent of what was alive after the last. Left to itself
 * V8 settles near what is alive: bodies of requests, which lie outside the heap but count, then make it collect every
 * 30 MB, 10 ms of work for 30 requests of 900 kB (measured: a fifth of all processor time, most of the p99).
 */
const heapGrowth = "--heap-growing-percent=200";

/**
 * Short collections on this thread alone. Shared out to V8's four helper threads they took more processor time in all
 * (measured: 1.3 times), and the helpers ran for whole slices of 4 ms where the engine's host and this thread wanted to.
 */
const collection = "--no-parallel-scavenge";

/**
 * Objects are made young, whatever outlived a short collection before. In a burst of requests most of them do, and V8 then
 * makes their kind old for good: bodies of requests were freed by full collections alone from then on, one in 1.4 s, and
 * p99 stayed at up to 37 ms instead of 3 to 5 (docs/results/bench.md, "after a burst").
 */
const young = "--no-allocation-site-pretenuring";

/** What `serve` runs under; whatever measures a part of it in its own process does too. */
export function setServingFlags(): void {
  setFlagsFromString(heapGrowth);
  setFlagsFromString(collection);
  setFlagsFromString(young);
}
