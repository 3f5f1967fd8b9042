import type { LotteryEngine } from "../../building/lottery.ts";
import type { EngineInfo } from "../../core/engine.ts";
import type { Pool } from "../../hosting/pool.ts";
import type { Evidence } from "../evidence.ts";
import type { ReportEngine } from "../report/schema.ts";
import type { Remembered } from "./self-checks.ts";

/** One engine through an audit: its process, and everything it did. */
export interface EngineRecord {
  readonly engine: LotteryEngine;
  readonly pool: Pool;
  readonly info: EngineInfo;
  readonly evidence: Evidence;
  /** Engine times of the timed requests, in order; null where it failed on an input that the reference can. */
  readonly outcomes: (number | null)[];
  /** Class per input; null where it failed or the task has none. */
  readonly classes: (number | null)[];
  /** The first inputs, for the self-checks. */
  readonly remembered: Remembered[];
  selfChecks: ReportEngine["selfChecks"];
  failures: number;
  residentBytes: number;
  /** Of its host, over the timed requests. */
  cpuSeconds: number | null;
  streams: ReportEngine["streams"];
}

/** Times of the timed requests that were answered, in order. */
export function answeredSeconds({ outcomes }: EngineRecord): number[] {
  return outcomes.filter((seconds) => seconds !== null);
}
