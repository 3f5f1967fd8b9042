import koffi from "koffi";
import type { DeviceReading } from "./reading.ts";

/**
 * The NVIDIA Management Library, bound by koffi. Calls can block for milliseconds, or for good on a sick driver, so
 * this runs in a child process (nvml-child.ts) only. Signatures, layouts and numbers: nvml.h, checked by a compiler
 * against the header of July 2026 (NVML 13, github.com/NVIDIA/go-nvml).
 */
export interface Nvml {
  read(): DeviceReading[];
  close(): void;
}

/** @throws Error with the library's own words when it cannot be loaded or started. */
export function openNvml(library = "libnvidia-ml.so.1"): Nvml {
  const call = bind(library);
  const started = call("nvmlInit_v2", [], []);
  if (started !== 0) throw new Error(`nvmlInit_v2 of ${library} failed: ${errorText(started)}`);
  const driver = text(driverSize, (out) =>
    call("nvmlSystemGetDriverVersion", ["void *", "uint"], [out, driverSize]),
  );
  return {
    read() {
      const count = uint32((out) => call("nvmlDeviceGetCount_v2", ["void *"], [out])) ?? 0;
      const readings: DeviceReading[] = [];
      for (let index = 0; index < count; index += 1) {
        const handle = uint64((out) =>
          call("nvmlDeviceGetHandleByIndex_v2", ["uint", "void *"], [index, out]),
        );
        if (handle !== undefined) readings.push(readDevice(call, handle, index, driver ?? "unknown"));
      }
      return readings;
    },
    close() {
      call("nvmlShutdown", [], []);
    },
  };
}

type Call = (name: string, types: string[], values: unknown[]) => number;

/** nvmlReturn_t of a function that this library does not have. */
const notFound = 13;

/** A function that calls one of the library's by name; an older driver's missing function answers `notFound`. */
function bind(library: string): Call {
  const lib = koffi.load(library);
  const bound = new Map<string, ((...values: unknown[]) => number) | undefined>();
  return (name, types, values) => {
    if (!bound.has(name)) {
      try {
        bound.set(name, lib.func(name, "int", types));
      } catch {
        bound.set(name, undefined);
      }
    }
    return bound.get(name)?.(...values) ?? notFound;
  };
}

function readDevice(call: Call, handle: bigint, index: number, driver: string): DeviceReading {
  const get = (name: string, out: Buffer): number => call(name, ["uint64_t", "void *"], [handle, out]);
  const number32 = (name: string): number | undefined => uint32((out) => get(name, out));
  const named = (name: string, size: number): string | undefined =>
    text(size, (out) => call(name, ["uint64_t", "void *", "uint"], [handle, out, size]));

  const utilization = struct(utilizationSize, (out) => get("nvmlDeviceGetUtilizationRates", out));
  const memory = struct(memorySize, (out) => get("nvmlDeviceGetMemoryInfo", out));
  const milliwatts = number32("nvmlDeviceGetPowerUsage");
  const limit = number32("nvmlDeviceGetEnforcedPowerLimit");
  const millijoules = uint64((out) => get("nvmlDeviceGetTotalEnergyConsumption", out));
  const clocksHertz: Record<string, number> = {};
  for (const [domain, type] of Object.entries(clockTypes)) {
    const megahertz = uint32((out) =>
      call("nvmlDeviceGetClockInfo", ["uint64_t", "int", "void *"], [handle, type, out]),
    );
    if (megahertz !== undefined) clocksHertz[domain] = megahertz * 1e6;
  }
  const reasons =
    uint64((out) => get("nvmlDeviceGetCurrentClocksEventReasons", out)) ??
    uint64((out) => get("nvmlDeviceGetCurrentClocksThrottleReasons", out));
  return {
    device: String(index),
    uuid: named("nvmlDeviceGetUUID", uuidSize) ?? `gpu-${index}`,
    name: named("nvmlDeviceGetName", nameSize) ?? "unknown",
    source: "nvml",
    driver,
    powerMode: limit === undefined ? undefined : `limit ${Math.round(limit / 1000)} W`,
    utilizationRatio: utilization === undefined ? undefined : utilization.readUInt32LE(0) / 100,
    memoryUsedBytes: memory === undefined ? undefined : Number(memory.readBigUInt64LE(16)),
    memoryTotalBytes: memory === undefined ? undefined : Number(memory.readBigUInt64LE(0)),
    powerWatts: milliwatts === undefined ? undefined : milliwatts / 1000,
    energyJoules: millijoules === undefined ? undefined : Number(millijoules) / 1000,
    temperatureCelsius: uint32((out) =>
      call("nvmlDeviceGetTemperature", ["uint64_t", "int", "void *"], [handle, 0, out]),
    ),
    clocksHertz,
    ...throttling(reasons),
    processes: processes(call, handle),
  };
}

function throttling(mask: bigint | undefined): Pick<DeviceReading, "throttleReasons" | "throttled"> {
  const throttleReasons: Record<string, boolean> = {};
  let throttled = false;
  for (const [reason, { bit, slows }] of Object.entries(nvmlThrottleReasons)) {
    if (mask === undefined) continue;
    const on = (mask & bit) !== 0n;
    throttleReasons[reason] = on;
    throttled ||= on && slows;
  }
  return { throttleReasons, throttled };
}

function processes(call: Call, handle: bigint): DeviceReading["processes"] {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(maxProcesses);
  const infos = Buffer.alloc(maxProcesses * processStride);
  const types = ["uint64_t", "void *", "void *"];
  if (call("nvmlDeviceGetComputeRunningProcesses_v3", types, [handle, count, infos]) !== 0) return [];
  return Array.from({ length: Math.min(count.readUInt32LE(0), maxProcesses) }, (_, at) => {
    const used = infos.readBigUInt64LE(at * processStride + 8);
    return {
      pid: infos.readUInt32LE(at * processStride),
      memoryBytes: used === notAvailable ? undefined : Number(used),
    };
  });
}

/**
 * nvmlClocksEventReason* of nvml.h. `slows`: the driver or the board took speed away; an idle GPU and clocks that
 * the user set did not.
 */
const nvmlThrottleReasons: Readonly<Record<string, { bit: bigint; slows: boolean }>> = {
  gpu_idle: { bit: 0x1n, slows: false },
  applications_clocks_setting: { bit: 0x2n, slows: false },
  sw_power_cap: { bit: 0x4n, slows: true },
  hw_slowdown: { bit: 0x8n, slows: true },
  sync_boost: { bit: 0x10n, slows: false },
  sw_thermal_slowdown: { bit: 0x20n, slows: true },
  hw_thermal_slowdown: { bit: 0x40n, slows: true },
  hw_power_brake_slowdown: { bit: 0x80n, slows: true },
  display_clock_setting: { bit: 0x100n, slows: false },
};

/** nvmlClockType_t. */
const clockTypes = { graphics: 0, sm: 1, memory: 2, video: 3 };
/** NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE, NVML_DEVICE_NAME_V2_BUFFER_SIZE, NVML_DEVICE_UUID_V2_BUFFER_SIZE. */
const driverSize = 80;
const nameSize = 96;
const uuidSize = 96;
/** nvmlUtilization_t: unsigned gpu, memory. nvmlMemory_t: unsigned long long total, free, used. */
const utilizationSize = 8;
const memorySize = 24;
/** nvmlProcessInfo_t: unsigned pid, (padding), unsigned long long usedGpuMemory, unsigned gpuInstance, computeInstance. */
const processStride = 24;
const maxProcesses = 256;
/** NVML_VALUE_NOT_AVAILABLE as an unsigned long long. */
const notAvailable = 0xffff_ffff_ffff_ffffn;

function struct(size: number, fill: (out: Buffer) => number): Buffer | undefined {
  const out = Buffer.alloc(size);
  return fill(out) === 0 ? out : undefined;
}

function uint32(fill: (out: Buffer) => number): number | undefined {
  return struct(4, fill)?.readUInt32LE(0);
}

function uint64(fill: (out: Buffer) => number): bigint | undefined {
  return struct(8, fill)?.readBigUInt64LE(0);
}

function text(size: number, fill: (out: Buffer) => number): string | undefined {
  return struct(size, fill)?.toString("utf8").split("\0")[0];
}

/** The nvmlReturn_t that nvmlInit gives in practice. */
function errorText(code: number): string {
  const known: Record<number, string> = {
    9: "the NVIDIA kernel module is not loaded",
    4: "this user may not open the GPU's device files",
    18: "library and kernel module are of different driver versions; restart the machine or the container",
    [notFound]: "it has no such function, so it is not NVML 5.319 or later",
  };
  return known[code] ?? `NVML error ${code}`;
}
