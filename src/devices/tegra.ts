import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { DeviceReading } from "./reading.ts";
import type { TegrastatsSample } from "./tegrastats.ts";
import { gpuRail } from "./tegrastats.ts";

/** A Jetson board as its files tell; small sysfs reads, microseconds each. */
export interface TegraBoard {
  /** A line of tegrastats completed from sysfs. */
  reading(sample: TegrastatsSample, seconds: number): DeviceReading;
  close(): void;
}

export function isTegra(root: string): boolean {
  return existsSync(join(root, "etc/nv_tegra_release")) || /nvidia,tegra/.test(fileText(root, compatible));
}

/** @param root "/" outside tests. */
export function createTegraBoard({ root }: { readonly root: string }): TegraBoard {
  const name = fileText(root, "proc/device-tree/model") || "NVIDIA Jetson";
  const driver = l4tRelease(fileText(root, "etc/nv_tegra_release"));
  const loadFile = ["sys/devices/platform/gpu.0/load", "sys/devices/gpu.0/load"].find((path) =>
    existsSync(join(root, path)),
  );
  const clockFile = entries(root, "sys/class/devfreq", /gpu|gp10b|gv11b|ga10b|gpc/)
    .map((folder) => `${folder}/cur_freq`)
    .find((path) => existsSync(join(root, path)));
  const overCurrentFiles = entries(root, "sys/class/hwmon", /./).flatMap((folder) =>
    entries(root, folder, /^oc\d+_event_cnt$/),
  );
  const thermalFiles = entries(root, "sys/class/thermal", /^cooling_device/)
    .filter((folder) => /throttle-alert|hot-surface/.test(fileText(root, `${folder}/type`)))
    .map((folder) => `${folder}/cur_state`);

  let powerMode: string | undefined;
  const askPowerMode = (): void => {
    execFile("nvpmodel", ["-q"], { timeout: 2_000 }, (error, stdout) => {
      if (error === null) powerMode = parseNvpmodel(stdout);
    });
  };
  askPowerMode();
  const timer = setInterval(askPowerMode, powerModeMs).unref();

  const overCurrentEvents = (): number =>
    overCurrentFiles.reduce((sum, path) => sum + (fileNumber(root, path) ?? 0), 0);
  let events = overCurrentEvents();
  let energyJoules = 0;
  let before: number | undefined;

  return {
    reading(sample, seconds) {
      const rail = gpuRail(sample.watts);
      // Thor's rail reads a little below zero when idle (an offset of its sensor).
      const powerWatts = rail === undefined ? undefined : Math.max(0, sample.watts[rail] ?? 0);
      if (before !== undefined) energyJoules += (powerWatts ?? 0) * (seconds - before);
      before = seconds;
      const load = loadFile === undefined ? undefined : fileNumber(root, loadFile);
      const clock = sample.gpuHertz ?? (clockFile === undefined ? undefined : fileNumber(root, clockFile));
      const eventsNow = overCurrentEvents();
      const throttleReasons: Record<string, boolean> = {};
      if (overCurrentFiles.length > 0) throttleReasons["over_current"] = eventsNow > events;
      if (thermalFiles.length > 0) {
        throttleReasons["thermal"] = thermalFiles.some((path) => (fileNumber(root, path) ?? 0) > 0);
      }
      events = eventsNow;
      return {
        device: "0",
        uuid: "tegra-0",
        name,
        source: "tegra",
        driver,
        powerMode,
        utilizationRatio: sample.gpuRatio ?? (load === undefined ? undefined : load / 1000),
        memoryUsedBytes: sample.ramUsedBytes,
        memoryTotalBytes: sample.ramTotalBytes,
        powerWatts,
        energyJoules: powerWatts === undefined ? undefined : energyJoules,
        // A GPU that is powered off has no temperature of its own; the junction's is the board's hottest.
        temperatureCelsius: sample.celsius["gpu"] ?? sample.celsius["tj"],
        clocksHertz: {
          ...(clock === undefined ? {} : { graphics: clock }),
          ...(sample.emcHertz === undefined ? {} : { memory: sample.emcHertz }),
        },
        throttleReasons,
        throttled: Object.values(throttleReasons).some(Boolean),
        processes: [],
      };
    },
    close() {
      clearInterval(timer);
    },
  };
}

/** `NV Power Mode: MODE_15W_DESKTOP` of `nvpmodel -q`. */
export function parseNvpmodel(output: string): string | undefined {
  return /NV Power Mode:\s*(\S+)/.exec(output)?.[1];
}

/** `# R35 (release), REVISION: 4.1, ...` as "L4T 35.4.1". */
export function l4tRelease(text: string): string {
  const match = /R(\d+) \(release\), REVISION: ([\d.]+)/.exec(text);
  return match === null ? "L4T" : `L4T ${match[1]}.${match[2]}`;
}

const compatible = "proc/device-tree/compatible";
const powerModeMs = 60_000;

/** Paths (from root) of a folder's entries whose names match; none when the folder is not there. */
function entries(root: string, folder: string, names: RegExp): string[] {
  try {
    return readdirSync(join(root, folder))
      .filter((name) => names.test(name))
      .map((name) => `${folder}/${name}`);
  } catch {
    return [];
  }
}

function fileText(root: string, path: string): string {
  try {
    return readFileSync(join(root, path), "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}

function fileNumber(root: string, path: string): number | undefined {
  const text = fileText(root, path);
  return text === "" || Number.isNaN(Number(text)) ? undefined : Number(text);
}
