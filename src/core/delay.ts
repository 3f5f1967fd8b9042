/**
 * Waits. With a signal it keeps the process alive, since somebody waits for what comes after and can call it off: it
 * rejects with the signal's reason. Without one it does not.
 */
export function delay(milliseconds: number, signal?: AbortSignal): Promise<undefined> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const timer = setTimeout(done, milliseconds);
    if (signal === undefined) timer.unref();
    function done(): void {
      signal?.removeEventListener("abort", abort);
      resolve(undefined);
    }
    function abort(): void {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    }
    signal?.addEventListener("abort", abort, { once: true });
  });
}
