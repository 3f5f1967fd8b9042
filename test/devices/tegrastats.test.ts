import { describe, expect, it } from "vitest";
import { gpuRail, parseTegrastats } from "../../src/devices/tegrastats.ts";
import { tegrastatsLines } from "./tegrastats-lines.ts";

const megabyte = 1024 * 1024;

/** What a person reads in each line: [used MB, total MB, GPU load %, GPU MHz, EMC %, EMC MHz, GPU C, rail, watts]. */
const expected: Record<keyof typeof tegrastatsLines, readonly unknown[]> = {
  nano: [1923, 3964, 0, 76, 0, 1600, 40, "POM_5V_GPU", 0],
  nanoStreaming: [1288, 3964, 35, undefined, 0, undefined, 30.5, "POM_5V_GPU", 0.118],
  tx2: [2020, 7852, 0, undefined, 0, undefined, 41, "VDD_SYS_GPU", 0.153],
  tx2Root: [3276, 7859, 0, 114, 1, 1866, 39.5, "VDD_SYS_GPU", 0.182],
  xavierNx: [5246, 7771, 0, 1109, 2, 1600, 31.5, "VDD_CPU_GPU_CV", 2.706],
  xavierNxJetPack5: [3168, 6851, 0, 114, 2, 204, 45.5, "VDD_CPU_GPU_CV", 0.65],
  agxXavier: [14700, 15692, 0, undefined, 0, undefined, 30.5, "GPU", 0.463],
  orinNano: [3452, 7620, 0, undefined, undefined, undefined, 49.031, "VDD_CPU_GPU_CV", 0.518],
  orinLoaded: [6185, 7620, 63, 621, 43, 2133, 53.343, "VDD_CPU_GPU_CV", 4.667],
  agxOrin: [4321, 62801, 0, 0, 0, 2133, undefined, "VDD_GPU_SOC", 2.34],
  agxOrinJetPack7: [20642, 62817, 12, 1300, 3, 3199, 47.625, "VDD_GPU_SOC", 5.139],
  thor: [105265, 125772, undefined, 314, 0, 2750, 38.875, "VDD_GPU", 1.962],
  thorJetPack72: [36529, 125749, undefined, undefined, undefined, undefined, 62.906, "VDD_GPU", 37.528],
};

const percent = (ratio: number | undefined): number | undefined =>
  ratio === undefined ? undefined : Math.round(ratio * 100);
const mega = (hertz: number | undefined): number | undefined =>
  hertz === undefined ? undefined : hertz / 1e6;

describe("tegrastats", () => {
  it.each(Object.keys(tegrastatsLines) as (keyof typeof tegrastatsLines)[])("reads a line of %s", (board) => {
    const sample = parseTegrastats(tegrastatsLines[board]);
    const rail = gpuRail(sample?.watts ?? {});
    expect([
      (sample?.ramUsedBytes ?? 0) / megabyte,
      (sample?.ramTotalBytes ?? 0) / megabyte,
      percent(sample?.gpuRatio),
      mega(sample?.gpuHertz),
      percent(sample?.emcRatio),
      mega(sample?.emcHertz),
      sample?.celsius["gpu"],
      rail,
      sample?.watts[rail ?? ""],
    ]).toEqual(expected[board]);
  });

  it("reads every rail and none that is none", () => {
    expect(parseTegrastats(tegrastatsLines.agxXavier)?.watts).toEqual({
      GPU: 0.463,
      CPU: 0.618,
      SOC: 2.936,
      CV: 0,
      VDDRQ: 0.309,
      SYS5V: 3.306,
    });
    expect(parseTegrastats(tegrastatsLines.agxOrin)?.watts).toEqual({
      VDD_GPU_SOC: 2.34,
      VDD_CPU_CV: 0.39,
      VIN_SYS_5V0: 4.025,
      VDDQ_VDD2_1V8AO: 0.301,
    });
  });

  it("leaves sensors out that are powered off", () => {
    expect(parseTegrastats(tegrastatsLines.agxOrin)?.celsius).toEqual({
      cpu: 44.562,
      tboard: 32,
      soc2: 40.093,
      tdiode: 33,
      soc0: 41.093,
      tj: 44.343,
      soc1: 41.25,
    });
  });

  it("averages the cores that are on", () => {
    expect(parseTegrastats("RAM 1/2MB CPU [10%@102,off,30%@102,off]")?.cpuRatio).toBeCloseTo(0.2);
  });

  it("takes nothing from other text, and what there is from half a line", () => {
    expect(parseTegrastats("")).toBeUndefined();
    expect(parseTegrastats("tegrastats: command not found")).toBeUndefined();
    for (const line of Object.values(tegrastatsLines)) {
      for (let length = 0; length < line.length; length += 7) {
        const sample = parseTegrastats(line.slice(0, length));
        const numbers = [sample?.ramUsedBytes, sample?.gpuRatio, ...Object.values(sample?.watts ?? {})];
        expect(numbers.every((value) => value === undefined || Number.isFinite(value))).toBe(true);
      }
    }
  });
});
