import koffi from "koffi";

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
 * Lets the calling thread, and the processes and threads that it starts from now on, run as soon as they wake: EEVDF ends
 * the slice of whoever runs for a thread whose own slices are shorter (Linux 6.12; older kernels take the wish and do
 * nothing about it). Otherwise a compiling thread of V8, or any other process, keeps the core for up to 3 ms. It gives no
 * more of the processor in all, and needs no privilege. @returns whether the system took it
 */
export function takeShortSlices(): boolean {
  const numbers = process.platform === "linux" ? callNumbers[process.arch] : undefined;
  if (!numbers) return false;
  try {
    const systemCall = koffi.load(null).func("long syscall(long number, ...)");
    const attributes = Buffer.alloc(attributeBytes);
    const size = ["uint", attributeBytes] as const;
    if (systemCall(numbers.get, "int", 0, "void *", attributes, ...size, "uint", 0) !== 0) return false;
    if (attributes.readUInt32LE(policyAt) !== schedOther) return false;
    attributes.writeBigUInt64LE(shortestNs, runtimeAt);
    return systemCall(numbers.set, "int", 0, "void *", attributes, "uint", 0) === 0;
  } catch {
    return false;
  }
}
