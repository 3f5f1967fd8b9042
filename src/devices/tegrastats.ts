/** One line of NVIDIA's tegrastats; what the board or the release does not print is undefined. */
export interface TegrastatsSample {
  readonly ramUsedBytes: number | undefined;
  readonly ramTotalBytes: number | undefined;
  /** GR3D load, 0 to 1. */
  readonly gpuRatio: number | undefined;
  /** Highest of the GPU's clusters. */
  readonly gpuHertz: number | undefined;
  /** Load of the external memory controller, 0 to 1. */
  readonly emcRatio: number | undefined;
  readonly emcHertz: number | undefined;
  /** Mean load of the cores that are on, 0 to 1. */
  readonly cpuRatio: number | undefined;
  /** By sensor as printed, lower case; sensors that are powered off (-256C) are left out. */
  readonly celsius: Readonly<Record<string, number>>;
  /** Momentary power by rail. */
  readonly watts: Readonly<Record<string, number>>;
}

/**
 * Reads a line of tegrastats, from L4T 28 (TX2) to 39 (Thor). The field list is in NVIDIA's Jetson Linux Developer
 * Guide, "tegrastats Utility"; the variants come from real lines of ten boards and releases, in the test.
 */
export function parseTegrastats(line: string): TegrastatsSample | undefined {
  const ram = /\bRAM (\d+)\/(\d+)MB/.exec(line);
  const gpu = engine(line, "GR3D_FREQ");
  const emc = engine(line, "EMC_FREQ");
  const cores = [...(/\bCPU \[([^\]]*)\]/.exec(line)?.[1] ?? "").matchAll(/(\d+)%/g)].map((core) =>
    Number(core[1]),
  );
  const watts: Record<string, number> = {};
  for (const [, rail = "", modern, old] of line.matchAll(railPattern)) {
    if (rail !== "NC") watts[rail] = Number(modern ?? old) / 1000;
  }
  const celsius: Record<string, number> = {};
  for (const [, sensor = "", degrees] of line.matchAll(/([A-Za-z]\w*)@(-?[\d.]+)C\b/g)) {
    if (Number(degrees) > -200) celsius[sensor.toLowerCase()] = Number(degrees);
  }
  if (ram === null && gpu === undefined && Object.keys(watts).length === 0) return undefined;
  return {
    ramUsedBytes: ram === null ? undefined : Number(ram[1]) * megabyte,
    ramTotalBytes: ram === null ? undefined : Number(ram[2]) * megabyte,
    gpuRatio: gpu?.ratio,
    gpuHertz: gpu?.hertz,
    emcRatio: emc?.ratio,
    emcHertz: emc?.hertz,
    cpuRatio:
      cores.length === 0 ? undefined : cores.reduce((sum, load) => sum + load, 0) / cores.length / 100,
    celsius,
    watts,
  };
}

/** The rail that feeds the GPU, alone where the board measures it alone. */
export function gpuRail(watts: Readonly<Record<string, number>>): string | undefined {
  return gpuRails.find((rail) => watts[rail] !== undefined);
}

/** Orin, Thor, TX2 (L4T 32), TX2 (L4T 28), AGX Xavier, Nano; last the rail that CPU, GPU and accelerators share. */
const gpuRails = ["VDD_GPU_SOC", "VDD_GPU", "VDD_SYS_GPU", "GPU", "POM_5V_GPU", "VDD_CPU_GPU_CV"];

/** tegrastats says MB and counts 1024 x 1024. */
const megabyte = 1024 * 1024;

/** `VDD_IN 4824mW/4824mW`, `VDD_GPU 5mW/5mW/5mW`, `VDD_GPU 5517mW`, and before L4T 34 `POM_5V_IN 1750/1628`. */
const railPattern = /(?<=\s|^)([A-Z][A-Z0-9_]*) (?:(-?\d+)mW(?:\/-?\d+mW)*|(-?\d+)\/-?\d+)(?=\s|$)/g;

/** `0%`, `0%@114`, `0%@[1300,1300]`, `@[314,314,314]` (Thor, no load), `@2133`; clocks are megahertz. */
function engine(
  line: string,
  field: string,
): { ratio: number | undefined; hertz: number | undefined } | undefined {
  const match = new RegExp(`\\b${field} (?:(\\d+)%)?(?:@\\[?([\\d,]+)\\]?)?`).exec(line);
  if (match === null) return undefined;
  const clocks = match[2]?.split(",").map(Number) ?? [];
  return {
    ratio: match[1] === undefined ? undefined : Number(match[1]) / 100,
    hertz: clocks.length === 0 ? undefined : Math.max(...clocks) * 1e6,
  };
}
