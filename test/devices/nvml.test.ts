import { describe, expect, it } from "vitest";
import { openNvml } from "../../src/devices/nvml.ts";
import { buildFakeNvml, noCompiler } from "./_fake-nvml.ts";

describe.skipIf(noCompiler !== undefined)(
  `NVML binding (${noCompiler ?? "against a library made here"})`,
  () => {
    it("reads every value at the place where a C compiler puts it", () => {
      const nvml = openNvml(buildFakeNvml());
      const [first, second] = nvml.read();
      expect(first).toMatchObject({
        device: "0",
        uuid: "GPU-fake-0",
        name: "Fake GPU 0",
        source: "nvml",
        driver: "570.00.1",
        powerMode: "limit 700 W",
        utilizationRatio: 0.37,
        memoryUsedBytes: 5_000_000_000,
        memoryTotalBytes: 150_754_820_096,
        powerWatts: 123.456,
        temperatureCelsius: 41,
        clocksHertz: { graphics: 1.0e9, sm: 1.001e9, memory: 1.002e9, video: 1.003e9 },
        throttled: true,
        processes: [
          { pid: 4242, memoryBytes: 3_000_000_000 },
          { pid: 4243, memoryBytes: undefined },
        ],
      });
      expect(first?.energyJoules).toBeCloseTo(9_000_000_002, 0);
      expect(Object.entries(first?.throttleReasons ?? {}).filter(([, on]) => on)).toEqual([
        ["sw_power_cap", true],
        ["sw_thermal_slowdown", true],
      ]);
      expect(second).toMatchObject({ device: "1", uuid: "GPU-fake-1", utilizationRatio: 0.38 });
      nvml.close();
    });

    it("does not call a GPU throttled that is idle or whose clocks the user set, nor unsupported values zero", () => {
      const [, second] = openNvml(buildFakeNvml()).read();
      expect(second?.throttled).toBe(false);
      expect(second?.throttleReasons).toMatchObject({ gpu_idle: true, applications_clocks_setting: true });
      expect(second?.powerWatts).toBeUndefined();
    });

    it("reads what an older driver has", () => {
      const [first] = openNvml(buildFakeNvml({ old: true })).read();
      expect(first?.throttled).toBe(true);
      expect(first?.processes).toEqual([]);
    });

    it("says why when the library is missing", () => {
      expect(() => openNvml("libnot-there.so.1")).toThrow(/cannot open shared object file/);
    });
  },
);
