import koffi from "koffi";
import { hostDescriptor } from "./frame.ts";

/** The shared file as a host process sees it: an ArrayBuffer on the very pages. */
export interface MappedMemory {
  readonly buffer: ArrayBuffer;
  /** After this no view of the buffer may be touched again. */
  readonly unmap: () => void;
}

const protReadWrite = 0x3;
const mapShared = 0x1;
const mapFailed = 2n ** 64n - 1n;
const prSetPdeathsig = 1;
const sigkill = 9;

const libc = koffi.load(null);
const mmap: (...args: unknown[]) => bigint = libc.func(
  "void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)",
);
const munmap: (address: bigint, length: number) => number = libc.func(
  "int munmap(void *addr, size_t length)",
);
const prctl: (...args: number[]) => number = libc.func(
  "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)",
);

/**
 * Maps all of the file on descriptor 4. Node has no mmap of its own.
 * @throws Error when the kernel refuses, with its error number
 */
export function mapSharedFile(bytes: number): MappedMemory {
  const address = mmap(null, bytes, protReadWrite, mapShared, hostDescriptor.memory, 0);
  if (address === mapFailed) throw new Error(`mmap of ${bytes} bytes failed with errno ${koffi.errno()}`);
  return {
    buffer: koffi.view(address, bytes),
    unmap: () => {
      munmap(address, bytes);
    },
  };
}

/** For gateways that have no setpriv: the kernel kills this process when its parent goes, stopped or hung too. */
export function dieWithParent(): void {
  prctl(prSetPdeathsig, sigkill, 0, 0, 0);
}
