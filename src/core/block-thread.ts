const never = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** Puts the calling thread to sleep, deaf to its event loop; for threads that serve nobody. Finer than a timer's whole millisecond. */
export function blockThread(milliseconds: number): void {
  Atomics.wait(never, 0, 0, milliseconds);
}
