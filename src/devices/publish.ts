import type { Clock } from "../core/clock.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { DeviceReading, TimedReading } from "./reading.ts";

/** Newest reading per device, shown as metrics while it is fresh. */
export interface ReadingStore {
  accept(readings: readonly DeviceReading[]): void;
  /** Readings that are not older than 5 s. */
  latest(): readonly TimedReading[];
  /** Takes the metrics of devices without a fresh reading away. */
  expire(): void;
}

const freshSeconds = 5;

export function createReadingStore({
  clock,
  metrics,
}: {
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "set" | "inc" | "remove">;
}): ReadingStore {
  const newest = new Map<string, TimedReading>();
  const fresh = (reading: TimedReading): boolean => clock.seconds() - reading.at <= freshSeconds;
  return {
    accept(readings) {
      for (const reading of readings) {
        show(metrics, reading, newest.get(reading.uuid));
        newest.set(reading.uuid, { ...reading, at: clock.seconds() });
      }
    },
    latest: () => [...newest.values()].filter(fresh),
    expire() {
      for (const reading of newest.values()) {
        if (fresh(reading)) continue;
        newest.delete(reading.uuid);
        for (const name of gauges) metrics.remove(name, { uuid: reading.uuid });
      }
    },
  };
}

function show(
  metrics: Pick<Metrics, "set" | "inc" | "remove">,
  reading: DeviceReading,
  before: DeviceReading | undefined,
): void {
  const labels = { device: reading.device, uuid: reading.uuid };
  const values = {
    gpu_utilization_ratio: reading.utilizationRatio,
    gpu_memory_used_bytes: reading.memoryUsedBytes,
    gpu_memory_total_bytes: reading.memoryTotalBytes,
    gpu_power_watts: reading.powerWatts,
    gpu_temperature_celsius: reading.temperatureCelsius,
  } as const;
  for (const name of Object.keys(values) as (keyof typeof values)[]) {
    // NaN: the source stopped telling, so the series goes away.
    metrics.set(name, labels, values[name] ?? Number.NaN);
  }
  metrics.inc(
    "gpu_energy_joules_total",
    labels,
    Math.max(0, (reading.energyJoules ?? 0) - (before?.energyJoules ?? reading.energyJoules ?? 0)),
  );
  for (const [domain, hertz] of Object.entries(reading.clocksHertz)) {
    metrics.set("gpu_clock_hertz", { ...labels, domain }, hertz);
  }
  for (const [reason, on] of Object.entries(reading.throttleReasons)) {
    metrics.set("gpu_throttled", { ...labels, reason }, on ? 1 : 0);
  }
  if (before === undefined || before.powerMode !== reading.powerMode) {
    metrics.remove("gpu_info", { uuid: reading.uuid });
    const { name, driver, source } = reading;
    metrics.set("gpu_info", { ...labels, name, driver, source, power_mode: reading.powerMode ?? "" }, 1);
  }
}

const gauges = [
  "gpu_utilization_ratio",
  "gpu_memory_used_bytes",
  "gpu_memory_total_bytes",
  "gpu_power_watts",
  "gpu_temperature_celsius",
  "gpu_clock_hertz",
  "gpu_throttled",
  "gpu_info",
] as const;
