import { spawn } from "node:child_process";
import { once } from "node:events";
import { release } from "node:os";
import koffi from "koffi";
import { expect, it } from "vitest";

const [major = 0, minor = 0] = release().split(".").map(Number);
/** Before Linux 6.12 the kernel keeps no slice of a thread's own. */
const skip = process.platform !== "linux" || major < 6 || (major === 6 && minor < 12);

/** What sched_getattr(2) says of a thread: its niceness, and its slices in nanoseconds. */
function scheduling(thread: number): { nice: number; slice: number } {
  const attributes = Buffer.alloc(56);
  const getAttributes = process.arch === "arm64" ? 275 : 315;
  const call = koffi.load(null).func("long syscall(long number, ...)");
  expect(call(getAttributes, "int", thread, "void *", attributes, "uint", 56, "uint", 0)).toBe(0);
  return { nice: attributes.readInt32LE(16), slice: Number(attributes.readBigUInt64LE(24)) };
}

const program = `
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { preferServing } from "./src/core/serving-thread.ts";
const threads = (await readdir("/proc/self/task")).map(Number);
preferServing();
const { pid: child } = spawn("sleep", ["60"]);
process.stdin.on("end", () => process.kill(child)).resume();
console.log(JSON.stringify({ child, threads }));
`;

it.skipIf(skip)(
  "the thread and its children take short slices, the threads that were there stand back",
  async () => {
    const node = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", program], {
      cwd: new URL("../..", import.meta.url),
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = (await once(node.stdout, "data")) as [Buffer];
    const { child, threads } = JSON.parse(line.toString()) as { child: number; threads: number[] };
    const served = { nice: 0, slice: 100_000 };
    expect(scheduling(node.pid as number)).toEqual(served);
    expect(scheduling(child)).toEqual(served);
    const others = threads.filter((thread) => thread !== node.pid).map(scheduling);
    // V8's and libuv's.
    expect(others.length).toBeGreaterThan(6);
    for (const { nice, slice } of others) {
      expect(nice).toBeGreaterThan(0);
      expect(slice).toBeGreaterThan(100_000);
    }
    node.stdin.end();
    await once(node, "exit");
  },
);
