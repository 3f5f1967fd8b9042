import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { quantileRatioBootstrap } from "../../../src/compare/statistics/block-bootstrap.ts";
import { buildShare } from "../../../src/compare/statistics/build-share.ts";
import { clopperPearson, clopperPearsonUpper } from "../../../src/compare/statistics/clopper-pearson.ts";
import { minimalWithin } from "../../../src/compare/statistics/early-stopping.ts";
import { completionJitter, jitter } from "../../../src/compare/statistics/jitter.ts";
import { mannWhitney } from "../../../src/compare/statistics/mann-whitney.ts";
import { mcnemarExact } from "../../../src/compare/statistics/mcnemar.ts";
import { quantileUpperRank } from "../../../src/compare/statistics/order-statistic.ts";
import { quantileRanks } from "../../../src/compare/statistics/quantile-sequence.ts";
import { createRandom } from "../../../src/compare/statistics/random.ts";
import { kendallTau } from "../../../src/compare/statistics/rank.ts";
import { lnRateEProcess, rateInterval } from "../../../src/compare/statistics/rate-sequence.ts";
import { betaInc, lnBeta, normalCdf, normalQuantile } from "../../../src/compare/statistics/special.ts";

const folder = new URL("../reference/", import.meta.url);
const expected = JSON.parse(readFileSync(new URL("statistics.json", folder), "utf8")) as Reference;

describe("statistics agree with scipy and numpy", () => {
  test("incomplete beta", () => {
    for (const { x, a, b, value } of expected.betaInc) close(betaInc(x, a, b), value, 1e-9);
  });
  test("ln beta", () => {
    // scipy's own betaln is off by 2e-11 relative at (3, 1e6), where B = 2 / (1e6 * 1000001 * 1000002).
    for (const { a, b, value } of expected.lnBeta) close(lnBeta(a, b), value, 1e-10);
    close(lnBeta(3, 1e6), Math.log(2) - Math.log(1e6) - Math.log(1_000_001) - Math.log(1_000_002), 1e-14);
  });
  test("normal quantile", () => {
    for (const { p, value } of expected.normalQuantile) close(normalQuantile(p), value, 1e-9);
    for (const { p, value } of expected.normalQuantile) close(normalCdf(value), p, 1e-9);
  });
  test("order-statistic upper bound of a quantile", () => {
    for (const { n, p, confidence, rank } of expected.upperRank)
      expect(quantileUpperRank(n, p, confidence)).toBe(rank ?? undefined);
  });
  test("MLPerf early stopping", () => {
    for (const { over, percentile, within } of expected.earlyStopping)
      expect(minimalWithin(over, { percentile })).toBe(within);
  });
  test("Clopper-Pearson", () => {
    for (const { events, n, lower, upper, oneSided } of expected.clopperPearson) {
      const interval = clopperPearson(events, n, 0.95);
      close(interval.lower, lower, 1e-9);
      close(interval.upper, upper, 1e-9);
      close(clopperPearsonUpper(events, n, 0.95), oneSided, 1e-9);
    }
  });
  test("beta-binomial confidence sequence and one-sided e-process", () => {
    for (const { events, n, alpha, a, b, p0, lower, upper, lnE } of expected.rateSequence) {
      const interval = rateInterval(events, n, alpha, { a, b });
      close(interval.lower, lower, 1e-8);
      close(interval.upper, upper, 1e-8);
      close(lnRateEProcess(events, n, p0, { a, b }), lnE, 1e-8);
    }
  });
  test("ranks of the quantile confidence sequence", () => {
    for (const { n, p, alpha, lower, upper } of expected.quantileRanks)
      expect(quantileRanks(n, p, alpha)).toEqual({ lower: lower ?? undefined, upper: upper ?? undefined });
  });
  test("jitter", () => {
    const { seconds, periodSeconds, completionP99Seconds, completionMaxSeconds, ...kinds } = expected.jitter;
    const ours = jitter(seconds);
    close(ours.pdvP99Seconds, kinds.pdvP99Seconds, 1e-12);
    close(ours.ipdvP99Seconds, kinds.ipdvP99Seconds, 1e-12);
    close(ours.iqrSeconds, kinds.iqrSeconds, 1e-12);
    close(ours.peakToPeakSeconds, kinds.peakToPeakSeconds, 1e-12);
    let at = 0;
    const completion = completionJitter(
      seconds.map((x) => (at += 0.01 + x)),
      periodSeconds,
    );
    close(completion.p99Seconds, completionP99Seconds, 1e-8);
    close(completion.maxSeconds, completionMaxSeconds, 1e-8);
  });
  test("Kendall's tau", () => {
    close(kendallTau(expected.kendall.x, expected.kendall.y), expected.kendall.tau, 1e-12);
  });
  test("Mann-Whitney and Hodges-Lehmann", () => {
    const { x, y, ...values } = expected.mannWhitney;
    const ours = mannWhitney(x, y);
    expect(ours.u).toBe(values.u);
    close(ours.pValue, values.pValue, 1e-9);
    close(ours.shift, values.shift, 1e-9);
    close(ours.shiftLower, values.shiftLower, 1e-9);
    close(ours.shiftUpper, values.shiftUpper, 1e-9);
  });
  test("McNemar's exact test", () => {
    for (const { first, second, pValue } of expected.mcnemar)
      close(mcnemarExact(first, second), pValue, 1e-10);
  });
  test("between-build share", () => {
    const ours = buildShare(expected.buildShare.builds);
    close(ours.betweenVariance, expected.buildShare.between, 1e-9);
    close(ours.withinVariance, expected.buildShare.within, 1e-9);
    close(ours.icc, expected.buildShare.icc, 1e-9);
  });
  test("block bootstrap: the same interval as numpy's, within resampling noise, and the same for a seed", () => {
    const { candidate, control, p, estimate, lower, upper } = expected.bootstrap;
    const draw = () =>
      quantileRatioBootstrap({ candidate, control, p, random: createRandom(7), resamples: 4000 });
    const ours = draw();
    close(ours.estimate, estimate, 1e-12);
    close(ours.lower, lower, 0.02);
    close(ours.upper, upper, 0.02);
    expect(draw()).toEqual(ours);
  });
});

const python = [".venv/bin/python", "test/.venv/bin/python", "python3"].find(hasScipy);

describe("committed expected values", () => {
  test.skipIf(python === undefined)("are what the script prints (skipped where no Python has scipy)", () => {
    const printed = execFileSync(python as string, [new URL("statistics.py", folder).pathname], {
      encoding: "utf8",
      maxBuffer: 1e8,
    });
    same(JSON.parse(printed), expected, "$");
  });
});

function hasScipy(command: string): boolean {
  if (command.includes("/") && !existsSync(command)) return false;
  try {
    execFileSync(command, ["-c", "import scipy, numpy"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function close(actual: number, value: number, relative: number): void {
  expect(Math.abs(actual - value), `${actual} is not ${value}`).toBeLessThanOrEqual(
    relative * Math.max(Math.abs(value), 1e-300),
  );
}

/** Equal, numbers to 1e-9: versions of scipy differ in the last digits. */
function same(actual: unknown, value: unknown, path: string): void {
  if (typeof value === "number") {
    expect(Math.abs((actual as number) - value), path).toBeLessThanOrEqual(1e-9 * Math.abs(value) + 1e-300);
  } else if (typeof value === "object" && value !== null) {
    expect(Object.keys(actual as object), path).toEqual(Object.keys(value));
    for (const [key, inner] of Object.entries(value))
      same((actual as Record<string, unknown>)[key], inner, `${path}.${key}`);
  } else {
    expect(actual, path).toBe(value);
  }
}

interface Reference {
  betaInc: { x: number; a: number; b: number; value: number }[];
  lnBeta: { a: number; b: number; value: number }[];
  normalQuantile: { p: number; value: number }[];
  upperRank: { n: number; p: number; confidence: number; rank: number | null }[];
  earlyStopping: { over: number; percentile: number; within: number }[];
  clopperPearson: { events: number; n: number; lower: number; upper: number; oneSided: number }[];
  rateSequence: Record<"events" | "n" | "alpha" | "a" | "b" | "p0" | "lower" | "upper" | "lnE", number>[];
  quantileRanks: { n: number; p: number; alpha: number; lower: number | null; upper: number | null }[];
  jitter: { seconds: number[] } & Record<
    | "pdvP99Seconds"
    | "ipdvP99Seconds"
    | "iqrSeconds"
    | "peakToPeakSeconds"
    | "periodSeconds"
    | "completionP99Seconds"
    | "completionMaxSeconds",
    number
  >;
  kendall: { x: number[]; y: number[]; tau: number };
  mannWhitney: { x: number[]; y: number[] } & Record<
    "u" | "pValue" | "shift" | "shiftLower" | "shiftUpper",
    number
  >;
  mcnemar: { first: number; second: number; pValue: number }[];
  buildShare: { builds: number[][]; between: number; within: number; icc: number };
  bootstrap: { candidate: number[]; control: number[] } & Record<
    "p" | "estimate" | "lower" | "upper",
    number
  >;
}
