import { extname } from "node:path";
import { Worker, type TransferListItem } from "node:worker_threads";
import { delay } from "./delay.ts";
import { leaveIdleClass } from "./idle-thread.ts";

/**
 * Starts a thread on a program of this repository, from source or built.
 * @param program without extension, beside the module at `from`, whose import.meta.url that is
 */
export function startThread(
  program: string,
  from: string,
  data?: unknown,
  transferList: TransferListItem[] = [],
): Worker {
  const extension = extname(from);
  const file = new URL(`./${program}${extension}`, from);
  if (extension !== ".ts") return new Worker(file, { workerData: data, transferList });
  // From source (tests) the thread needs tsx, which its --import does not bring into threads of Node 20.
  return new Worker(
    `import("tsx/esm/api").then(({ register }) => { register(); return import(${JSON.stringify(file.href)}); })`,
    { eval: true, execArgv: [], workerData: data, transferList },
  );
}

/** How long the end of a thread is waited for. */
const endMs = 2_000;

/**
 * Ends the thread, without waiting for long: where other programs keep the processor busy, one of the idle class gets next
 * to no time, to end in neither (seen: 9 s instead of 35 ms), and nobody needs what it still holds.
 */
export async function endThread(thread: Worker): Promise<void> {
  leaveIdleClass();
  thread.unref();
  await Promise.race([thread.terminate(), delay(endMs)]);
}
