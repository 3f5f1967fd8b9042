import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Devices, DevicesOptions } from "../../src/devices/devices.ts";
import { createDevices } from "../../src/devices/devices.ts";
import { createReplayDevices } from "../../src/devices/replay.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";
import { manualClock } from "../metrics/_helpers.ts";
import { buildFakeNvml, noCompiler } from "./_fake-nvml.ts";
import { tegrastatsLines } from "./tegrastats-lines.ts";

const open: Devices[] = [];
afterEach(() => {
  for (const devices of open.splice(0)) devices.close();
  vi.unstubAllEnvs();
});

function start(options: Partial<DevicesOptions>) {
  const infos: string[] = [];
  const warnings: string[] = [];
  const log = {
    ...silentLog,
    info: (fields: object, message: string) => infos.push(`${message} ${JSON.stringify(fields)}`),
    warn: (fields: object, message: string) => warnings.push(`${message} ${JSON.stringify(fields)}`),
  };
  const metrics = createMetrics({ clock: systemClock });
  const devices = createDevices({
    clock: systemClock,
    log,
    metrics,
    intervalMs: 50,
    root: emptyRoot(),
    ...options,
  });
  open.push(devices);
  const text = () => createMetricsService({ metrics }).scrape(undefined).text();
  return { devices, metrics, infos, warnings, text };
}

/** A made-up root folder with these files. */
function emptyRoot(files: Record<string, string> = {}): string {
  const root = mkdtempSync(join(tmpdir(), "root-"));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

const until = (condition: () => boolean) =>
  vi.waitFor(() => expect(condition()).toBe(true), { timeout: 20_000 });

describe("devices", () => {
  it("says once that there are none, and is not in the way", async () => {
    const { devices, infos } = start({});
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(devices.source()).toBe("none");
    expect(devices.latest()).toEqual([]);
    expect(infos).toHaveLength(1);
    expect(infos[0]).toContain("no NVIDIA driver is loaded and this is no Jetson");
  });

  describe.skipIf(noCompiler !== undefined)(`NVML (${noCompiler ?? "library made here"})`, () => {
    it("gives readings and metrics of every GPU", async () => {
      const { devices, text } = start({ nvmlLibrary: buildFakeNvml() });
      await until(() => devices.latest().length === 2);
      expect(devices.source()).toBe("nvml");
      const shown = await text();
      expect(shown).toContain('crosscheck_gpu_utilization_ratio{device="0",uuid="GPU-fake-0"} 0.37\n');
      expect(shown).toContain(
        'crosscheck_gpu_clock_hertz{device="0",uuid="GPU-fake-0",domain="memory"} 1002000000\n',
      );
      expect(shown).toContain(
        'crosscheck_gpu_throttled{device="0",uuid="GPU-fake-0",reason="sw_power_cap"} 1\n',
      );
      expect(shown).toMatch(
        /crosscheck_gpu_info{.*name="Fake GPU 1",driver="570.00.1",power_mode="limit 700 W"/,
      );
      expect(shown).not.toContain('crosscheck_gpu_power_watts{device="1"');
    });

    it("counts energy from the gateway's start", async () => {
      const { text } = start({ nvmlLibrary: buildFakeNvml() });
      const energy = async () => {
        const match = /gpu_energy_joules_total{device="0".*} ([\d.]+)/.exec(await text());
        return Number(match?.[1] ?? Number.NaN);
      };
      await vi.waitFor(async () => expect(await energy()).toBeGreaterThanOrEqual(4), { timeout: 20_000 });
      expect(await energy()).toBeLessThan(100_000);
    });

    it("says why once when the driver is not there, and does not start it again", async () => {
      vi.stubEnv("FAKE_NVML", "no-driver");
      const { devices, infos } = start({ nvmlLibrary: buildFakeNvml() });
      await until(() => infos.length > 0);
      expect(infos[0]).toContain("the NVIDIA kernel module is not loaded");
      expect(devices.source()).toBe("none");
    });

    it("shows no reading of a driver that hangs, instead of an old one", async () => {
      vi.stubEnv("FAKE_NVML", "hang");
      const clock = manualClock();
      const { devices, text } = start({ nvmlLibrary: buildFakeNvml(), clock });
      // The second reading is the last one.
      await vi.waitFor(async () => expect(await text()).toMatch(/gpu_energy_joules_total{.*} 4$/m), {
        timeout: 20_000,
      });
      clock.advance(6);
      expect(devices.latest()).toEqual([]);
      await vi.waitFor(async () => expect(await text()).not.toContain("gpu_temperature_celsius{"));
    });
  });

  describe("Jetson", () => {
    const files = {
      "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64",
      "proc/device-tree/model": "NVIDIA Orin Nano Developer Kit\0",
      "sys/devices/platform/gpu.0/load": "437\n",
      "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
      "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
      "sys/class/thermal/cooling_device4/type": "gpu-throttle-alert\n",
      "sys/class/thermal/cooling_device4/cur_state": "0\n",
    };
    const printing = (line: string, root: string) => ({
      root,
      tegrastats: [process.execPath, "-e", `setInterval(() => console.log(${JSON.stringify(line)}), 20)`],
    });

    it("joins tegrastats and sysfs", async () => {
      const { devices } = start(printing(tegrastatsLines.thorJetPack72, emptyRoot(files)));
      await until(() => devices.latest().length === 1);
      expect(devices.source()).toBe("tegra");
      expect(devices.latest()[0]).toMatchObject({
        name: "NVIDIA Orin Nano Developer Kit",
        driver: "L4T 35.4.1",
        utilizationRatio: 0.437,
        clocksHertz: { graphics: 624_750_000 },
        powerWatts: 37.528,
        temperatureCelsius: 62.906,
        throttled: false,
        throttleReasons: { over_current: false, thermal: false },
      });
    });

    it("takes the junction's temperature when the GPU is powered off", async () => {
      const { devices } = start(printing(tegrastatsLines.agxOrin, emptyRoot(files)));
      await until(() => devices.latest().length === 1);
      expect(devices.latest()[0]?.temperatureCelsius).toBe(44.343);
    });

    it("is throttled while a thermal alert lasts and when the current limit struck", async () => {
      const root = emptyRoot(files);
      const { devices } = start(printing(tegrastatsLines.orinLoaded, root));
      await until(() => devices.latest()[0]?.throttled === false);
      writeFileSync(join(root, "sys/class/thermal/cooling_device4/cur_state"), "1\n");
      await until(() => devices.latest()[0]?.throttleReasons["thermal"] === true);
      expect(devices.latest()[0]?.throttled).toBe(true);
    });

    it("integrates power into energy", async () => {
      const { text } = start(printing(tegrastatsLines.orinLoaded, emptyRoot(files)));
      await vi.waitFor(async () => expect(await text()).toMatch(/gpu_energy_joules_total{.*} 0\.[1-9]/), {
        timeout: 20_000,
      });
    });

    it("starts tegrastats again when it ends", async () => {
      const { devices, warnings } = start({
        root: emptyRoot(files),
        tegrastats: [process.execPath, "-e", `console.log(${JSON.stringify(tegrastatsLines.nano)})`],
      });
      await until(() => warnings.length >= 2);
      expect(devices.source()).toBe("tegra");
    });
  });
});

describe("replay", () => {
  it("shows a recording as if it were read now", async () => {
    const clock = manualClock();
    const metrics = createMetrics({ clock });
    const reading = {
      device: "0",
      uuid: "GPU-1",
      name: "recorded",
      source: "nvml",
      driver: "1",
      clocksHertz: { sm: 1e9 },
      throttleReasons: { sw_power_cap: true },
      throttled: true,
      processes: [],
      powerWatts: 300,
    };
    const lines = [300, 310].map((powerWatts) => JSON.stringify({ readings: [{ ...reading, powerWatts }] }));
    const file = join(emptyRoot({ "recording.jsonl": `${lines.join("\n")}\n` }), "recording.jsonl");
    const replay = createReplayDevices({ file, clock, metrics });
    for (const watts of [300, 310, 300]) {
      replay.step();
      expect(replay.latest()[0]?.powerWatts).toBe(watts);
    }
    const text = await createMetricsService({ metrics }).scrape(undefined).text();
    expect(text).toContain('crosscheck_gpu_power_watts{device="0",uuid="GPU-1"} 300\n');
  });

  it("refuses an empty recording", () => {
    const file = join(emptyRoot({ "empty.jsonl": "" }), "empty.jsonl");
    const options = { file, clock: manualClock(), metrics: createMetrics({ clock: manualClock() }) };
    expect(() => createReplayDevices(options)).toThrow(/record one with scripts\/record-devices.mjs/);
  });
});
