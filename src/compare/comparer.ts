import type { Worker } from "node:worker_threads";
import type { Tensor } from "../core/tensor.ts";
import { endThread, startThread } from "../core/worker-thread.ts";
import type { Difference } from "./difference.ts";
import type { CompareOptions } from "./options.ts";

/** Compares in a thread of its own, so that the event loop and with it live requests do not wait for it. */
export interface Comparer {
  /**
   * One difference for each pair of places in `outputs`. The tensors are copied.
   * @throws Error when the thread ended, or took too long and was ended; it is started again for the next job.
   */
  compare(
    outputs: readonly (readonly Tensor[])[],
    pairs: readonly (readonly [reference: number, candidate: number])[],
    options: CompareOptions,
  ): Promise<Difference[]>;
  close(): Promise<void>;
}

export interface CompareJob {
  readonly id: number;
  readonly outputs: readonly (readonly Tensor[])[];
  readonly pairs: readonly (readonly [number, number])[];
  readonly options: CompareOptions;
}

type Answer = { readonly id: number } & ({ readonly differences: Difference[] } | { readonly error: string });

/** Far above any comparison: even an idle-class thread on a busy machine gets through a large one in seconds. */
const usualLimitSeconds = 30;

export function createComparer({ limitSeconds = usualLimitSeconds } = {}): Comparer {
  /** In the order in which the thread takes them. */
  const waiting = new Map<
    number,
    { resolve: (differences: Difference[]) => void; reject: (error: Error) => void }
  >();
  let worker: Worker | undefined;
  let limit: NodeJS.Timeout | undefined;
  let nextId = 1;
  let closed = false;

  function start(): Worker {
    const started = startThread("comparer-worker", import.meta.url);
    started.unref();
    started.on("message", (answer: Answer) => {
      const job = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ("error" in answer) job?.reject(new Error(answer.error));
      else job?.resolve(answer.differences);
      watch(started);
      if (waiting.size === 0) started.unref();
    });
    // Whose answer it was cannot be told.
    started.on("messageerror", (error) => stop(started, error));
    started.on("error", (error) => end(started, error));
    started.on("exit", () => end(started, new Error("the comparing thread ended")));
    return started;
  }

  /** Gives the job that is now the thread's its time. */
  function watch(which: Worker): void {
    clearTimeout(limit);
    if (waiting.size === 0) return;
    const late = new Error(`a comparison took longer than ${limitSeconds} s`);
    limit = setTimeout(() => stop(which, late), limitSeconds * 1000);
  }

  function stop(which: Worker, error: Error): void {
    end(which, error);
    void which.terminate();
  }

  function end(which: Worker, error: Error): void {
    if (worker !== which) return;
    worker = undefined;
    clearTimeout(limit);
    for (const job of waiting.values()) job.reject(error);
    waiting.clear();
  }

  return {
    compare(outputs, pairs, options) {
      if (closed) return Promise.reject(new Error("the comparer is closed"));
      const to = (worker ??= start());
      const id = nextId++;
      const sent = outputs.map((tensors) => tensors.map(owned));
      const transfer = sent.flatMap((tensors) => tensors.map(({ data }) => data.buffer));
      return new Promise((resolve, reject) => {
        to.postMessage({ id, outputs: sent, pairs, options } satisfies CompareJob, transfer);
        // Only what was sent is waited for.
        waiting.set(id, { resolve, reject });
        to.ref();
        if (waiting.size === 1) watch(to);
      });
    },
    async close() {
      closed = true;
      const last = worker;
      if (!last) return;
      end(last, new Error("the comparer is closed"));
      await endThread(last);
    },
  };
}

/** With memory of its own, that may move: cloning a view would copy the whole buffer that it looks into. */
function owned({ name, datatype, shape, data }: Tensor) {
  return { name, datatype, shape, data: new Uint8Array(data) };
}
