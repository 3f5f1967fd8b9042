import { expect, test } from "vitest";
import type { Comparer } from "../../src/compare/comparer.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import { HostLostError } from "../../src/core/engine.ts";
import { silentLog, type Log } from "../../src/core/log.ts";
import type { TensorSpec } from "../../src/core/tensor.ts";
import type { Engine } from "../../src/models/engine.ts";
import type { Model } from "../../src/models/model.ts";
import { selfCheck } from "../../src/shadow/self-check.ts";
import type { Store } from "../../src/store/store.ts";

const model = { name: "m", config: { task: "tensor" } } as unknown as Model;
const comparer = {
  compare: (outputs, pairs, options) =>
    Promise.resolve(pairs.map(([a, b]) => compareOutputs(outputs[a] ?? [], outputs[b] ?? [], options))),
} as Partial<Comparer> as Comparer;

/** Which rows it said to be equal or not, and what else it found, of an engine that computes rows of numbers. */
async function check(
  input: Pick<TensorSpec, "shape" | "bounds">,
  compute: (rows: number[][], run: number) => number[][],
  log: Log = silentLog,
) {
  let run = 0;
  const infer = ({ inputs }: { inputs: readonly { shape: readonly number[]; data: Uint8Array }[] }) => {
    const [tensor] = inputs;
    const values = [...new Float32Array(new Uint8Array(tensor?.data ?? []).buffer)];
    const size = tensor?.shape[0] ?? 1;
    const width = values.length / size;
    const rows = Array.from({ length: size }, (_, row) => values.slice(row * width, (row + 1) * width));
    const results = compute(rows, run++);
    const data = new Uint8Array(Float32Array.from(results.flat()).buffer);
    const shape = [results.length, results[0]?.length ?? 0];
    return Promise.resolve({ outputs: [{ name: "y", datatype: "FP32", shape, data }] });
  };
  const engine = {
    id: "e",
    info: { inputs: [{ name: "x", datatype: "FP32", ...input }] },
    manifest: { artifact: { sha256: "e" } },
    shadow: () => Promise.resolve({ infer }),
  } as unknown as Engine;
  const store = { read: async () => undefined, write: async () => {} } as Partial<Store> as Store;
  return selfCheck(model, engine, { comparer, store, keyPrefix: "", log });
}

const sum = (row: number[]) => [row.reduce((total, value) => total + value, 0)];
const wrongFrom = (first: number) => (rows: number[][]) =>
  rows.map((row, place) => (place < first ? sum(row) : [7]));

function rowsOf(checks: Awaited<ReturnType<typeof check>>): boolean[] {
  return checks.filter(({ check: name }) => name === "rows").map(({ passed }) => passed);
}

test("equal rows give equal rows: in a batch of any size, and in one whose size is fixed", async () => {
  expect(rowsOf(await check({ shape: [-1, 3] }, (rows) => rows.map(sum)))).toEqual([true, true, true]);
  expect(rowsOf(await check({ shape: [-1, 3] }, wrongFrom(3)))).toEqual([true, true, false]);
  expect(rowsOf(await check({ shape: [8, 3] }, (rows) => rows.map(sum)))).toHaveLength(7);
  expect(rowsOf(await check({ shape: [8, 3] }, wrongFrom(6)))).toEqual([
    true,
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
  const bounds = [
    [2, 8],
    [3, 3],
  ] as const;
  expect(rowsOf(await check({ shape: [-1, 3], bounds }, wrongFrom(1)))).toEqual([false]);
});

test("a first axis that is no batch is left alone", async () => {
  expect(rowsOf(await check({ shape: [1, 3] }, (rows) => rows.map(sum)))).toEqual([]);
  // Time: each row adds to what was before it; then the other way round.
  const running = (rows: number[][]) => rows.map((_, place) => sum(rows.slice(0, place + 1).flat()));
  expect(rowsOf(await check({ shape: [5, 3] }, running))).toEqual([]);
  expect(rowsOf(await check({ shape: [5, 3] }, (rows) => running(rows.toReversed()).toReversed()))).toEqual(
    [],
  );
  // One answer for all.
  expect(rowsOf(await check({ shape: [5, 3] }, (rows) => [sum(rows.flat())]))).toEqual([]);
});

test("a check that throws keeps what the others have found", async () => {
  const warned: unknown[] = [];
  const log: Log = { ...silentLog, warn: (fields) => void warned.push(fields) };
  const checks = await check(
    { shape: [-1, 3] },
    (rows, run) => {
      if (run === 3) throw new HostLostError("exited", "the host died");
      return rows.map((row) => (run === 2 ? [7] : sum(row)));
    },
    log,
  );
  expect(checks.map(({ check: name, passed }) => `${name} ${passed}`)).toEqual([
    "twice true",
    "twice false",
    "rows true",
    "rows true",
    "rows true",
  ]);
  expect(warned).toMatchObject([{ model: "m", engine: "e", check: "twice" }]);
});
