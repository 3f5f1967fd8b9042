import { extname } from "node:path";
import { Worker, type TransferListItem } from "node:worker_threads";

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
