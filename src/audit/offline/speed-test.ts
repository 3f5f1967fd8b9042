import { blockMedians } from "../../building/lottery.ts";
import { mannWhitney } from "../../compare/statistics/mann-whitney.ts";
import { finite } from "../report/figures.ts";
import type { ReportEngine } from "../report/schema.ts";

/** With fewer a block is so short that its neighbours are no news. */
const fewestRequests = 100;

/** Is a candidate slower than the reference? Single times are autocorrelated, medians of blocks are nearly not. */
export function speedTest(
  candidate: readonly number[],
  reference: readonly number[],
): ReportEngine["speedTest"] {
  if (candidate.length < fewestRequests || reference.length < fewestRequests) return null;
  const [ours, theirs] = [blockMedians(candidate), blockMedians(reference)];
  const { u, pValue, shift, shiftLower, shiftUpper } = mannWhitney(ours, theirs);
  return {
    blocks: ours.length,
    referenceBlocks: theirs.length,
    pValue,
    shiftSeconds: shift,
    shiftLowerSeconds: finite(shiftLower),
    shiftUpperSeconds: finite(shiftUpper),
    slowerShareRatio: u / (ours.length * theirs.length),
  };
}
