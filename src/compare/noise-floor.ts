import type { Datatype } from "../core/tensor.ts";
import type { Tolerance } from "../models/manifest.ts";
import type { OutputSummary } from "./difference.ts";
import { limitsOf } from "./options.ts";
import { LogHistogram, type LogHistogramSnapshot } from "./statistics/log-histogram.ts";

/**
 * How far an engine is from itself on the same input, from control runs and self-checks: the floor below which a
 * difference between two engines says nothing. Memory: 32 kB per output, whatever the number of runs.
 */
export interface NoiseFloor {
  add(outputs: readonly OutputSummary[]): void;
  result(): readonly OutputNoise[];
  /**
   * The given tolerance's `abs` widened, per output, to `factor` times the p99 of the noise where that is larger. `rel`
   * stays: an element of 0 makes its noise 1e10 and more, and a limit of that size would pass anything. Changes nothing
   * before `minRuns` control runs.
   */
  calibrate(tolerance: Tolerance, options?: { factor?: number; minRuns?: number }): Tolerance;
  snapshot(): NoiseFloorSnapshot;
}

interface OutputNoise {
  readonly output: string;
  readonly runs: number;
  readonly bitEqualRatio: number;
  /** p99 over runs of the run's largest difference, and the largest of all. */
  readonly absP99: number;
  readonly absMax: number;
  readonly relP99: number;
  readonly relMax: number;
}

export interface NoiseFloorSnapshot {
  readonly outputs: readonly {
    readonly output: string;
    readonly datatype: Datatype;
    readonly bitEqual: number;
    readonly abs: LogHistogramSnapshot;
    readonly rel: LogHistogramSnapshot;
  }[];
}

export function createNoiseFloor(snapshot?: NoiseFloorSnapshot): NoiseFloor {
  const floors = new Map<string, Floor>();
  for (const { output, datatype, bitEqual, abs, rel } of snapshot?.outputs ?? [])
    floors.set(output, {
      datatype,
      bitEqual,
      abs: LogHistogram.restore(abs),
      rel: LogHistogram.restore(rel),
    });

  function result(): OutputNoise[] {
    return Array.from(floors, ([output, { bitEqual, abs, rel }]) => ({
      output,
      runs: abs.count,
      bitEqualRatio: bitEqual / abs.count,
      absP99: abs.quantile(0.99),
      absMax: abs.maximum,
      relP99: rel.quantile(0.99),
      relMax: rel.maximum,
    }));
  }

  return {
    add(outputs) {
      for (const output of outputs) {
        let floor = floors.get(output.name);
        if (floor === undefined) {
          floor = {
            datatype: output.datatype,
            bitEqual: 0,
            abs: new LogHistogram(range),
            rel: new LogHistogram(range),
          };
          floors.set(output.name, floor);
        }
        if (output.bitEqual) floor.bitEqual += 1;
        floor.abs.add(output.absMax);
        floor.rel.add(output.relMax);
      }
    },
    result,
    calibrate(tolerance, { factor = 3, minRuns = 100 } = {}) {
      const outputs = { ...tolerance.outputs };
      for (const [output, floor] of floors) {
        if (floor.abs.count < minRuns) continue;
        const limits = limitsOf(output, floor.datatype, tolerance);
        outputs[output] = {
          ...outputs[output],
          abs: Math.max(limits.abs, factor * floor.abs.quantile(0.99)),
        };
      }
      return { ...tolerance, outputs };
    },
    snapshot: () => ({
      outputs: Array.from(floors, ([output, { datatype, bitEqual, abs, rel }]) => ({
        output,
        datatype,
        bitEqual,
        abs: abs.snapshot(),
        rel: rel.snapshot(),
      })),
    }),
  };
}

interface Floor {
  readonly datatype: Datatype;
  bitEqual: number;
  readonly abs: LogHistogram;
  readonly rel: LogHistogram;
}

const range = { from: -64, to: 64, bits: 5 };
