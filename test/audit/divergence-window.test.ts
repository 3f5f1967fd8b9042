import { expect, test } from "vitest";
import { createDivergenceWindow } from "../../src/audit/divergence-window.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import { summaryOf, type DifferenceSummary } from "../../src/compare/difference.ts";
import { tensor } from "./_auditor.ts";

function open() {
  const time = { seconds: 0 };
  const window = createDivergenceWindow({ clock: { seconds: () => time.seconds, now: () => new Date(0) } });
  /** p50 and the worst of each metric. */
  const figures = () => {
    const found: Record<string, readonly [number, number]> = {};
    window.each((output, metric, quantile) => {
      const worst = metric === "cosine" ? 0 : 1;
      found[`${output} ${metric}`] = [quantile(0.5), quantile(worst)];
    });
    return found;
  };
  const gone = () => {
    const names: string[] = [];
    window.eachGone((output, metric) => names.push(`${output} ${metric}`));
    return names;
  };
  return { window, time, figures, gone };
}

function difference(
  reference: number[],
  candidate: number[],
  task: "tensor" | "classification" = "tensor",
): DifferenceSummary {
  return summaryOf(compareOutputs([tensor(...reference)], [tensor(...candidate)], { task }));
}

test("gives quantiles of each output and metric, a similarity's from its other end", () => {
  const { window, figures } = open();
  for (let i = 0; i < 9; i += 1) window.add(difference([1, 0], [1, 0]));
  window.add(difference([1, 0], [0, 1]));
  const { "y max_abs": abs, "y cosine": cosine, "y ulp": ulp } = figures();
  expect(abs?.[0]).toBeCloseTo(0, 11);
  expect(abs?.[1]).toBe(1);
  expect(cosine?.[0]).toBeCloseTo(1, 11);
  expect(cosine?.[1]).toBeCloseTo(0);
  expect(ulp?.[1]).toBeGreaterThan(1e6);
});

test("what is older than five minutes counts no more, and is told to be gone once", () => {
  const { window, time, figures, gone } = open();
  window.add(difference([1, 2], [1, 3]));
  time.seconds = 200;
  window.add(difference([1, 2], [1, 2.5]));
  expect(figures()["y max_abs"]?.[1]).toBeCloseTo(1);
  time.seconds = 301;
  expect(figures()["y max_abs"]?.[1]).toBeCloseTo(0.5);
  expect(gone()).toEqual([]);
  time.seconds = 501;
  expect(figures()).toEqual({});
  expect(gone()).toEqual(["y max_abs", "y max_rel", "y ulp", "y cosine"]);
  expect(gone()).toEqual([]);
  window.add(difference([1, 2], [1, 2]));
  expect(figures()["y max_abs"]).toEqual([0, 0]);
});

test("NaN where the reference has a number is as far as can be, not perfect", () => {
  const { window, figures } = open();
  window.add(difference([1, 2], [1, Number.NaN], "classification"));
  const { "y max_abs": abs, "y max_rel": rel, "y ulp": ulp, "y cosine": cosine, "y kl": kl } = figures();
  for (const figure of [abs, rel, ulp]) expect(figure).toEqual([Infinity, Infinity]);
  expect(cosine).toEqual([-1, -1]);
  expect(kl).toEqual([Infinity, Infinity]);
});
