import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { cpuTimes } from "../../src/devices/cpu-load.ts";

const stat = `cpu  400 0 100 4000 20 0 0 0 0 0
cpu0 100 0 0 1000 0 0 0 0 7 7
cpu1 0 0 0 1000 0 0 0 0 0 0
cpu2 300 0 50 900 10 5 5 30 0 0
cpu10 0 0 50 1100 10 0 0 0 0 0
intr 12345 0 0
ctxt 1
`;
const status = (list: string) =>
  `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${list}\nMems_allowed_list:\t0\n`;

test("counts the cores that the process may run on, and no others", () => {
  expect(cpuTimes(stat, status("0"))).toEqual({ busy: 100, total: 1100, cores: "0" });
  expect(cpuTimes(stat, status("1-2"))).toEqual({ busy: 390, total: 2300, cores: "1-2" });
  expect(cpuTimes(stat, status("0,2-10"))).toEqual({ busy: 540, total: 3560, cores: "0,2-10" });
});

test("counts all where it cannot tell which are its own", () => {
  const all = { busy: 500, total: 4520, cores: "all" };
  expect(cpuTimes(stat, "Name:\tnode\n")).toEqual(all);
  expect(cpuTimes(stat, status("64-127"))).toEqual(all);
  expect(cpuTimes("cpu 1 0 0 9 0 0 0 0\n", status("0"))).toEqual({ busy: 1, total: 10, cores: "all" });
});

test.skipIf(process.platform !== "linux" || spawnSync("taskset", ["-V"]).error !== undefined)(
  "a pinned process finds its own core in this machine's files",
  () => {
    const script = `import fs from "node:fs"; console.log(fs.readFileSync("/proc/self/status", "latin1"))`;
    const [core = "0"] = /^Cpus_allowed_list:\s*(\d+)/m
      .exec(spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }).stdout)
      ?.slice(1) ?? ["0"];
    const pinned = spawnSync("taskset", ["-c", core, process.execPath, "--input-type=module", "-e", script], {
      encoding: "utf8",
    });
    expect(cpuTimes(stat.replace("cpu0", `cpu${core}`), pinned.stdout).cores).toBe(core);
  },
);
