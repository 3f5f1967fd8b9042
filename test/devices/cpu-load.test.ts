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
test("counts the cores that the process may run on, and no others", () => {
  expect(cpuTimes(stat, [0])).toEqual({ busy: 100, total: 1100, cores: "0" });
  expect(cpuTimes(stat, [1, 2])).toEqual({ busy: 390, total: 2300, cores: "1,2" });
  expect(cpuTimes(stat, [0, 2, 10])).toEqual({ busy: 540, total: 3560, cores: "0,2,10" });
});

test("counts all where it cannot tell which are its own", () => {
  const all = { busy: 500, total: 4520, cores: "all" };
  expect(cpuTimes(stat, [])).toEqual(all);
  expect(cpuTimes(stat, [64, 65])).toEqual(all);
  expect(cpuTimes("cpu 1 0 0 9 0 0 0 0\n", [0])).toEqual({ busy: 1, total: 10, cores: "all" });
});
