import type { DeviceState } from "./audit/evidence.ts";
import type { Devices } from "./devices/devices.ts";
import type { Engine } from "./models/engine.ts";

/** Whether times of this engine's device can be judged now: no throttled GPU, no starved host. */
export function deviceState(devices: Devices, engine: Pick<Engine, "manifest">): DeviceState {
  if (devices.board().starved) return "throttled";
  if (engine.manifest.device.kind === "cpu") return "ok";
  const readings = devices.latest();
  if (readings.length === 0) return "unknown";
  return readings.some(({ throttled }) => throttled) ? "throttled" : "ok";
}
