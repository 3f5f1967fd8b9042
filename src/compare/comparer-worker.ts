import { parentPort } from "node:worker_threads";
import { compareOutputs } from "./compare.ts";
import type { CompareJob } from "./comparer.ts";
import { makeThreadIdle } from "../core/idle-thread.ts";

makeThreadIdle();

/** The worker's side: one job after another, each answered with as many differences as it has pairs. */
parentPort?.on("message", ({ id, outputs, pairs, options }: CompareJob) => {
  try {
    const differences = pairs.map(([reference, candidate]) =>
      compareOutputs(outputs[reference] ?? [], outputs[candidate] ?? [], options),
    );
    parentPort?.postMessage({ id, differences });
  } catch (error) {
    parentPort?.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});

// A job that cannot be read has no id to answer: the thread ends, and with it every job that waits for it.
parentPort?.on("messageerror", (error) => {
  throw error;
});
