import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { coresIn, coresOf, splitCores } from "../../src/core/cores.ts";
import { coresFor } from "../../src/hosting/launch.ts";

const linux = process.platform === "linux";
/** Those that this thread may use. */
const own = linux ? coresOf("self") : [];

describe("cores", () => {
  it.each([
    [[0], undefined],
    [[0, 1], { serving: [0], shadow: [1] }],
    [[0, 1, 2], { serving: [0, 1], shadow: [2] }],
    [[0, 1, 2, 3], { serving: [0, 1], shadow: [2, 3] }],
    [[2, 3, 5, 7, 11], { serving: [2, 3, 5], shadow: [7, 11] }],
  ])("%j are shared out as %j", (all, halves) => {
    expect(splitCores(all)).toEqual(halves && { all, ...halves });
  });

  it.each([
    ["0-3", [0, 1, 2, 3]],
    ["1,4-5,64", [1, 4, 5, 64]],
    ["", []],
  ])("the kernel's list %j is %j", (list, cores) => {
    expect(coresIn(list)).toEqual(cores);
  });

  it("shadow hosts have their half, unless they have more threads than it has cores; serving ones have all", () => {
    const split = { all: [0, 1, 2, 3], serving: [0, 1], shadow: [2, 3] };
    expect(coresFor("shadow", 2, split)).toEqual([2, 3]);
    expect(coresFor("shadow", 3, split)).toEqual([0, 1, 2, 3]);
    expect(coresFor("serving", 1, split)).toEqual([0, 1, 2, 3]);
  });

  it.skipIf(!linux).each([
    ["whatever its own thread is kept to", [process.execPath], own],
    ["pinned to one", ["taskset", "-c", String(own[0]), process.execPath], own.slice(0, 1)],
  ])("are those of this process, %s", async (_, [command = "", ...args], expected) => {
    const kept = expected.slice(-1);
    const program = `
import { allowedCores, coreCount, keepThreadTo } from "./src/core/cores.ts";
keepThreadTo(${JSON.stringify(kept)});
process.stdin.on("end", () => {}).resume();
console.log(JSON.stringify([allowedCores(), coreCount()]));
`;
    const node = spawn(command, [...args, "--import", "tsx", "--input-type=module", "--eval", program], {
      cwd: new URL("../..", import.meta.url),
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = (await once(node.stdout, "data")) as [Buffer];
    expect(coresOf(node.pid as number)).toEqual(kept);
    expect(JSON.parse(line.toString())).toEqual([expected, expected.length]);
    node.stdin.end();
    await once(node, "exit");
  });
});
