/** One look at one GPU. What the source cannot tell is undefined, never zero. */
export interface DeviceReading {
  /** Index as the driver counts, "0" on a Jetson. */
  readonly device: string;
  readonly uuid: string;
  readonly name: string;
  readonly source: "nvml" | "tegra";
  /** NVIDIA driver version, or the L4T release. */
  readonly driver: string;
  /** nvpmodel's mode ("MAXN"), or the enforced power limit ("limit 700 W"). */
  readonly powerMode: string | undefined;
  /** Share of the driver's last sample period in which a kernel ran, 0 to 1. */
  readonly utilizationRatio: number | undefined;
  readonly memoryUsedBytes: number | undefined;
  readonly memoryTotalBytes: number | undefined;
  readonly powerWatts: number | undefined;
  /** A counter from an arbitrary origin. */
  readonly energyJoules: number | undefined;
  readonly temperatureCelsius: number | undefined;
  /** By domain: graphics, sm, memory, video. */
  readonly clocksHertz: Readonly<Record<string, number>>;
  /** Every reason the source knows of, true while it holds the clocks down. */
  readonly throttleReasons: Readonly<Record<string, boolean>>;
  /** Whether a reason outside the user's own settings and idleness holds the clocks down: such samples are kept apart. */
  readonly throttled: boolean;
  /** Memory by process, where the driver tells (not on a Jetson: one memory for all). */
  readonly processes: readonly { readonly pid: number; readonly memoryBytes: number | undefined }[];
}

/** A reading with the moment it arrived. */
export interface TimedReading extends DeviceReading {
  /** Clock seconds. */
  readonly at: number;
}

/** The CPU side of the machine, for telling a starved host from a slow engine. */
export interface BoardReading {
  /** Share of the last interval in which some task waited for a CPU (PSI); undefined where the kernel does not tell. */
  readonly cpuPressureRatio: number | undefined;
  /** Time for which the cgroup's cores were held back by its CPU quota, over the last interval; at most 1. */
  readonly cpuThrottledRatio: number | undefined;
  /** Mean current over mean maximum frequency of the cores. */
  readonly cpuFrequencyRatio: number | undefined;
  /** Hottest thermal zone. */
  readonly temperatureCelsius: number | undefined;
  /**
   * cpuThrottledRatio above 0.05: timings then say more of the host than of an engine. Pressure does not count, since
   * a gateway that runs its own shadow work on every core has full pressure by itself.
   */
  readonly starved: boolean;
}
