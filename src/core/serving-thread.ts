import { readdirSync } from "node:fs";
import { constants, setPriority } from "node:os";
import koffi from "koffi";
import { type CoreSplit, coreSplit, keepThreadTo } from "./cores.ts";

/**
 * Lets the thread that serves, and the hosts that it starts from now on, have the processor before the threads that work
 * for it (V8's compilers and collectors, libuv's for files): those get what is left, at least a tenth of a core's time.
 * Where there are several it keeps off those of shadow work.
 * @returns how the cores are shared out, if they are
 */
export function preferServing(): CoreSplit | undefined {
  if (process.platform !== "linux") return undefined;
  for (const thread of readdirSync("/proc/self/task").map(Number))
    if (thread !== process.pid) setNice(thread);
  takeShortSlices();
  const split = coreSplit();
  if (split) keepThreadTo(split.serving);
  return split;
}

/** Raised niceness needs no privilege; a thread that has ended meanwhile needs none either. */
function setNice(thread: number): void {
  try {
    setPriority(thread, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It has ended.
  }
}

/** Of the system calls sched_setattr and sched_getattr, which not every C library wraps. */
const callNumbers: Partial<Record<NodeJS.Architecture, { readonly set: number; readonly get: number }>> = {
  x64: { set: 314, get: 315 },
  arm64: { set: 274, get: 275 },
};

/** struct sched_attr (sched_setattr(2)): size, policy u32; flags u64; nice i32; priority u32; runtime u64 at 24, in ns. */
const attributeBytes = 56;
const policyAt = 4;
const runtimeAt = 24;
/** The shortest that the kernel takes. */
const shortestNs = 100_000n;

/** Whoever started the gateway with another policy had a reason. */
const schedOther = 0;

/**
 * EEVDF ends the slice of whoever runs for a thread that wakes and whose own slices are shorter (Linux 6.12; older kernels
 * take the wish and do nothing about it). Otherwise any other thread keeps the core for up to 3 ms. It gives no more of
 * the processor in all, and needs no privilege. Where the system refuses, nothing changes.
 */
function takeShortSlices(): void {
  const numbers = callNumbers[process.arch];
  if (!numbers) return;
  try {
    const systemCall = koffi.load(null).func("long syscall(long number, ...)");
    const attributes = Buffer.alloc(attributeBytes);
    const size = ["uint", attributeBytes] as const;
    if (systemCall(numbers.get, "int", 0, "void *", attributes, ...size, "uint", 0) !== 0) return;
    if (attributes.readUInt32LE(policyAt) !== schedOther) return;
    attributes.writeBigUInt64LE(shortestNs, runtimeAt);
    systemCall(numbers.set, "int", 0, "void *", attributes, "uint", 0);
  } catch {
    // A C library without syscall(2).
  }
}
