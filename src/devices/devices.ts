import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createBoardReader } from "./board.ts";
import type { LineChild } from "./line-child.ts";
import { createLineChild } from "./line-child.ts";
import type { ReadingStore } from "./publish.ts";
import { createReadingStore } from "./publish.ts";
import type { BoardReading, DeviceReading, TimedReading } from "./reading.ts";
import { createTegraBoard, isTegra } from "./tegra.ts";
import { parseTegrastats } from "./tegrastats.ts";

/** GPU and board readings. Everything is read beside the gateway, so nothing here can delay start, ready or a request. */
export interface Devices {
  /** Where readings come from; `none` also after NVML turned out unusable. */
  source(): "nvml" | "tegra" | "none";
  /** The newest reading of each GPU, none older than 5 s. */
  latest(): readonly TimedReading[];
  /** The CPU side over the last second. */
  board(): BoardReading;
  close(): void;
}

export interface DevicesOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "set" | "inc" | "remove">;
  readonly intervalMs?: number | undefined;
  /** Root of /proc, /sys and /etc; tests give their own. */
  readonly root?: string | undefined;
  /** The NVML library; its default is looked for only where an NVIDIA driver is loaded. */
  readonly nvmlLibrary?: string | undefined;
  readonly tegrastats?: readonly string[] | undefined;
}

/** Lines that stay away for this many intervals mean a hung child; on a busy machine one of the idle class may be slow, so 60 s at least. */
const silentIntervals = 10;
const leastSilenceMs = 60_000;

export function createDevices(options: DevicesOptions): Devices {
  const { clock, log, metrics, intervalMs = 1_000, root = "/" } = options;
  const store = createReadingStore({ clock, metrics });
  const boardReader = createBoardReader({ clock, root });
  let board = boardReader.read();
  const timer = setInterval(() => {
    board = boardReader.read();
    store.expire();
  }, intervalMs).unref();
  let absent = false;
  const reader = startReader({ ...options, intervalMs, root, store }, (reason) => {
    absent = true;
    log.info({ reason }, "No GPU readings on this machine");
  });
  return {
    source: () => (absent ? "none" : (reader?.source ?? "none")),
    latest: () => store.latest(),
    board: () => board,
    close() {
      clearInterval(timer);
      reader?.close();
    },
  };
}

interface Reader {
  readonly source: "nvml" | "tegra";
  close(): void;
}

function startReader(
  options: DevicesOptions & { intervalMs: number; root: string; store: ReadingStore },
  onAbsent: (reason: string) => void,
): Reader | undefined {
  const { clock, log, intervalMs, root, store } = options;
  const child = (command: readonly string[], onLine: (line: string) => void): LineChild =>
    createLineChild({
      command,
      log,
      onLine,
      onAbsent,
      silenceMs: Math.max(leastSilenceMs, silentIntervals * intervalMs),
    });

  if (isTegra(root)) {
    const board = createTegraBoard({ root });
    const lines = child(options.tegrastats ?? ["tegrastats", "--interval", String(intervalMs)], (line) => {
      const sample = parseTegrastats(line);
      if (sample !== undefined) store.accept([board.reading(sample, clock.seconds())]);
    });
    return {
      source: "tegra",
      close() {
        lines.close();
        board.close();
      },
    };
  }
  const driverLoaded = ["dev/nvidiactl", "dev/dxg"].some((path) => existsSync(join(root, path)));
  if (options.nvmlLibrary === undefined && !driverLoaded) {
    onAbsent("no NVIDIA driver is loaded and this is no Jetson");
    return undefined;
  }
  const library = options.nvmlLibrary === undefined ? [] : [options.nvmlLibrary];
  const lines = child([...nodeCommand("./nvml-child"), String(intervalMs), ...library], (line) => {
    const readings = parseReadings(line);
    if (readings !== undefined) store.accept(readings);
  });
  return { source: "nvml", close: () => lines.close() };
}

/** The command that runs a module of this folder: through tsx from source, as it is from dist. */
function nodeCommand(module: string): string[] {
  const extension = extname(import.meta.url);
  const file = fileURLToPath(new URL(`${module}${extension}`, import.meta.url));
  if (extension !== ".ts") return [process.execPath, file];
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return [process.execPath, "--import", loader, file];
}

/** A line of nvml-child; undefined for anything else that found its way to its stdout. */
function parseReadings(line: string): DeviceReading[] | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return Array.isArray(value) ? (value as DeviceReading[]) : undefined;
  } catch {
    return undefined;
  }
}
