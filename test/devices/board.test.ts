import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { createBoardReader } from "../../src/devices/board.ts";
import { l4tRelease, parseNvpmodel } from "../../src/devices/tegra.ts";
import { manualClock } from "../metrics/_helpers.ts";

function machine(initial: Record<string, string>) {
  const root = mkdtempSync(join(tmpdir(), "board-"));
  const write = (files: Record<string, string>): void => {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
  };
  write(initial);
  const clock = manualClock();
  return { clock, write, reader: createBoardReader({ clock, root }) };
}

const stat = "sys/fs/cgroup/services/gateway/cpu.stat";
const pressure = (total: number) =>
  `some avg10=0.00 avg60=0.00 avg300=0.00 total=${total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n`;
const cpuStat = (throttled: number) =>
  `usage_usec 1\nnr_periods 2\nnr_throttled 1\nthrottled_usec ${throttled}\n`;

describe("board", () => {
  it("tells nothing and no starvation where there is nothing to read", () => {
    const { clock, reader } = machine({});
    clock.advance(1);
    expect(reader.read()).toEqual({
      cpuPressureRatio: undefined,
      cpuThrottledRatio: undefined,
      cpuFrequencyRatio: undefined,
      temperatureCelsius: undefined,
      starved: false,
    });
  });

  it("gives the shares of the time since the last look", () => {
    const { clock, write, reader } = machine({
      "proc/self/cgroup": "0::/services/gateway\n",
      "proc/pressure/cpu": pressure(1_000_000),
      [stat]: cpuStat(500_000),
      "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1000000\n",
      "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "2000000\n",
      "sys/class/thermal/thermal_zone0/temp": "45500\n",
      "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    });
    clock.advance(2);
    write({ "proc/pressure/cpu": pressure(1_200_000), [stat]: cpuStat(700_000) });
    const first = reader.read();
    expect(first.cpuPressureRatio).toBeCloseTo(0.1);
    expect(first.cpuThrottledRatio).toBeCloseTo(0.1);
    expect(first).toMatchObject({ cpuFrequencyRatio: 0.5, temperatureCelsius: 45.5, starved: true });
    clock.advance(2);
    expect(reader.read()).toMatchObject({ cpuPressureRatio: 0, cpuThrottledRatio: 0, starved: false });
    clock.advance(1);
    write({ "proc/pressure/cpu": pressure(2_200_000) });
    expect(reader.read()).toMatchObject({ cpuPressureRatio: 1, cpuThrottledRatio: 0, starved: false });
  });
});

describe("Jetson's text files", () => {
  it("names the power mode", () => {
    // Printed by nvpmodel -q on an AGX Xavier, a public installation log on GitHub.
    expect(parseNvpmodel("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_DESKTOP\n7\n")).toBe("MODE_15W_DESKTOP");
    expect(parseNvpmodel("NVPM ERROR: failed to read")).toBeUndefined();
  });

  it("names the release", () => {
    expect(l4tRelease("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic")).toBe("L4T 36.4.3");
    expect(l4tRelease("")).toBe("L4T");
  });
});
