import { readFileSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createReadingStore } from "./publish.ts";
import type { BoardReading, DeviceReading, TimedReading } from "./reading.ts";

/** What a real machine read (scripts/record-devices.mjs), shown as if it were read now. For tests and demonstrations. */
export interface ReplayDevices {
  /** Shows the next recorded moment; after the last the first again. */
  step(): void;
  latest(): readonly TimedReading[];
}

/** One line of a recording. */
interface RecordedMoment {
  /** ISO 8601. */
  readonly time: string;
  readonly readings: readonly DeviceReading[];
  readonly board: BoardReading;
}

/** @throws Error when the file has no moment in it. */
export function createReplayDevices({
  file,
  clock,
  metrics,
}: {
  readonly file: string;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "set" | "inc" | "remove">;
}): ReplayDevices {
  const moments = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as RecordedMoment);
  if (moments.length === 0)
    throw new Error(`${file} holds no recorded reading; record one with scripts/record-devices.mjs`);
  const store = createReadingStore({ clock, metrics });
  let next = 0;
  return {
    step() {
      store.accept(moments[next]?.readings ?? []);
      next = (next + 1) % moments.length;
    },
    latest: () => store.latest(),
  };
}
