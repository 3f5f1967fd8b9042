import { spawn } from "node:child_process";
import { once } from "node:events";
import { release } from "node:os";
import koffi from "koffi";
import { expect, it } from "vitest";

const [major = 0, minor = 0] = release().split(".").map(Number);
/** Before Linux 6.12 the kernel keeps no slice of a thread's own. */
const skip = process.platform !== "linux" || major < 6 || (major === 6 && minor < 12);

/** What sched_getattr(2) says that a thread's slices are, in nanoseconds. */
function sliceOf(thread: number): number {
  const attributes = Buffer.alloc(56);
  const getAttributes = process.arch === "arm64" ? 275 : 315;
  const call = koffi.load(null).func("long syscall(long number, ...)");
  expect(call(getAttributes, "int", thread, "void *", attributes, "uint", 56, "uint", 0)).toBe(0);
  return Number(attributes.readBigUInt64LE(24));
}

const program = `
import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { takeShortSlices } from "./src/core/short-slice.ts";
const threads = (await readdir("/proc/self/task")).map(Number);
const taken = takeShortSlices();
const { pid: child } = spawn("sleep", ["60"]);
process.stdin.on("end", () => process.kill(child)).resume();
console.log(JSON.stringify({ taken, child, threads }));
`;

it.skipIf(skip)(
  "short slices are the thread's and its children's, not of threads that were there",
  async () => {
    const node = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", program], {
      cwd: new URL("../..", import.meta.url),
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = (await once(node.stdout, "data")) as [Buffer];
    const { taken, child, threads } = JSON.parse(line.toString()) as {
      taken: boolean;
      child: number;
      threads: number[];
    };
    const others = threads.filter((thread) => thread !== node.pid);
    expect(taken).toBe(true);
    expect(sliceOf(node.pid as number)).toBe(100_000);
    expect(sliceOf(child)).toBe(100_000);
    // V8's and libuv's.
    expect(others.length).toBeGreaterThan(6);
    for (const thread of others) expect(sliceOf(thread)).toBeGreaterThan(100_000);
    node.stdin.end();
    await once(node, "exit");
  },
);
