import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createComparer, type Comparer } from "../../src/compare/comparer.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { idleThreads, threads } from "../core/_threads.ts";

vi.mock("node:worker_threads", async (original) =>
  (await import("../core/_threads.ts")).notingThreads(original),
);

let comparer: Comparer;
beforeEach(() => {
  comparer = createComparer();
});
afterEach(() => comparer.close());

const y = (...values: number[]): Tensor[] => [
  {
    name: "y",
    datatype: "FP32",
    shape: [values.length],
    data: new Uint8Array(Float32Array.from(values).buffer),
  },
];
/** Its shape says so much more than there is that comparing it does not end. */
const endless = (value: number): Tensor[] => y(value).map((tensor) => ({ ...tensor, shape: [1e15] }));
const compare = (a: Tensor[], b: Tensor[], by = comparer) => by.compare([a, b], [[0, 1]], { task: "tensor" });
const works = () => expect(compare(y(1), y(1))).resolves.toMatchObject([{ result: "bit_equal" }]);

test("jobs are answered each with its own differences", async () => {
  const jobs = [y(1), y(2), y(1)].map((other) => compare(y(1), other));
  const results = (await Promise.all(jobs)).map(([difference]) => difference?.result);
  expect(results).toEqual(["bit_equal", "diverged", "bit_equal"]);
  expect(threads).toHaveLength(1);
});

test.runIf(process.platform === "linux")("the thread is of the idle class, and no other is", async () => {
  await works();
  expect(idleThreads()).toBe(1);
});

test("tensors are copied, several of one buffer too", async () => {
  const buffer = Float32Array.of(1, 2).buffer;
  const part = (name: string, at: number): Tensor => ({
    name,
    datatype: "FP32",
    shape: [1],
    data: new Uint8Array(buffer, at, 4),
  });
  const parts = [part("a", 0), part("b", 4)];
  await expect(comparer.compare([parts, parts], [[0, 1]], { task: "tensor" })).resolves.toMatchObject([
    { result: "bit_equal" },
  ]);
  expect(parts.map(({ data }) => data.byteLength)).toEqual([4, 4]);
});

test("a job that throws fails alone", async () => {
  const unknown = y(1).map((tensor) => ({ ...tensor, datatype: "FP8" }) as unknown as Tensor);
  const other = y(2).map((tensor) => ({ ...tensor, datatype: "FP8" }) as unknown as Tensor);
  const failing = compare(unknown, other);
  await Promise.all([expect(failing).rejects.toThrow(), works()]);
  expect(threads).toHaveLength(1);
});

test("a thread that is killed in mid-job fails what waits for it, and another takes the next job", async () => {
  await works();
  const waiting = [compare(endless(1), endless(2)), compare(y(1), y(1))];
  const failed = Promise.all(waiting.map((job) => expect(job).rejects.toThrow("the comparing thread ended")));
  await threads[0]?.terminate();
  await failed;
  await works();
  expect(threads).toHaveLength(2);
});

test("an answer that cannot be read fails what waits, and another thread takes the next job", async () => {
  const waiting = compare(endless(1), endless(2));
  threads[0]?.emit("messageerror", new Error("unreadable"));
  await expect(waiting).rejects.toThrow("unreadable");
  await works();
  expect(threads).toHaveLength(2);
});

test("a comparison that takes too long is given up, with the thread that makes it", async () => {
  const hasty = createComparer({ limitSeconds: 3 });
  try {
    const ended = vi.fn();
    await compare(y(1), y(1), hasty);
    threads[0]?.on("exit", ended);
    await expect(compare(endless(1), endless(2), hasty)).rejects.toThrow("longer than 3 s");
    await expect(compare(y(1), y(1), hasty)).resolves.toMatchObject([{ result: "bit_equal" }]);
    await vi.waitFor(() => expect(ended).toHaveBeenCalled());
    expect(threads).toHaveLength(2);
  } finally {
    await hasty.close();
  }
});

test("a job that cannot be sent fails, and takes nobody's time", async () => {
  const hasty = createComparer({ limitSeconds: 3 });
  const options = { task: "tensor", topK: (() => 1) as unknown as number } as const;
  try {
    await expect(hasty.compare([y(1)], [[0, 0]], options)).rejects.toThrow("could not be cloned");
    await expect(compare(endless(1), endless(2), hasty)).rejects.toThrow("longer than 3 s");
  } finally {
    await hasty.close();
  }
});

test("closing fails what waits and refuses what comes", async () => {
  const waiting = [compare(endless(1), endless(2)), compare(y(1), y(1))];
  const failed = Promise.all(waiting.map((job) => expect(job).rejects.toThrow("the comparer is closed")));
  await comparer.close();
  await failed;
  await expect(compare(y(1), y(1))).rejects.toThrow("the comparer is closed");
});
