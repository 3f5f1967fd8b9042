import { readFileSync } from "node:fs";
import os from "node:os";
import { coreCount } from "../../core/cores.ts";
import type { TimedReading } from "../../devices/reading.ts";
import type { Report } from "./schema.ts";

export type Platform = Report["platform"];
type Gpu = Platform["gpus"][number];

/** The machine that the figures are from, and what was read of its GPUs meanwhile. */
export function describePlatform(gpus: readonly Gpu[] = []): Platform {
  const processors = os.cpus();
  return {
    operatingSystem: `${os.type()} ${os.release()}`,
    architecture: os.arch(),
    processor: processors[0]?.model.trim() ?? "unknown",
    cores: coreCount(),
    memoryBytes: os.totalmem(),
    governor: clockGovernor(),
    node: process.versions.node,
    gpus: [...gpus],
  };
}

/** Virtual machines and other systems than Linux do not tell. */
function clockGovernor(): string | null {
  try {
    return readFileSync("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "utf8").trim() || null;
  } catch {
    return null;
  }
}

/** Gathers readings of GPUs over a run: means, maxima, and the energy between first and last. */
export interface GpuTally {
  add(readings: readonly TimedReading[]): void;
  result(): Gpu[];
}

export function createGpuTally(): GpuTally {
  const series = new Map<string, TimedReading[]>();
  return {
    add(readings) {
      for (const reading of readings) {
        const seen = series.get(reading.uuid) ?? [];
        if (seen.at(-1)?.at !== reading.at) series.set(reading.uuid, [...seen, reading]);
      }
    },
    result: () => [...series.values()].map(summary),
  };
}

function summary(readings: readonly TimedReading[]): Gpu {
  const [first] = readings as [TimedReading];
  const last = readings.at(-1) as TimedReading;
  const known = (pick: (reading: TimedReading) => number | undefined): number[] =>
    readings.flatMap((reading) => pick(reading) ?? []);
  const energy = known(({ energyJoules }) => energyJoules);
  return {
    name: last.name,
    driver: last.driver,
    powerMode: last.powerMode ?? null,
    samples: readings.length,
    utilizationMeanRatio: mean(known(({ utilizationRatio }) => utilizationRatio)),
    memoryUsedMaxBytes: most(known(({ memoryUsedBytes }) => memoryUsedBytes)),
    memoryTotalBytes: first.memoryTotalBytes ?? null,
    powerMeanWatts: mean(known(({ powerWatts }) => powerWatts)),
    energyJoules: energy.length < 2 ? null : (energy.at(-1) as number) - (energy[0] as number),
    temperatureMaxCelsius: most(known(({ temperatureCelsius }) => temperatureCelsius)),
    clocksHertz: { ...last.clocksHertz },
    throttledSamples: readings.filter(({ throttled }) => throttled).length,
  };
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function most(values: readonly number[]): number | null {
  return values.length === 0 ? null : Math.max(...values);
}
