import { expect, test } from "vitest";
import type { Tensor } from "../../src/core/tensor.ts";
import { SpareMemory } from "../../src/shadow/spare-memory.ts";

const tensor = (...values: number[]): Tensor => ({
  name: "x",
  datatype: "UINT8",
  shape: [values.length],
  data: Uint8Array.from(values),
});

test("copies are the same tensors in memory of their own, which is used again once it is given back", () => {
  const memory = new SpareMemory({ mostBytes: 10_000 });
  const given = [tensor(1, 2, 3), tensor()];
  const first = memory.copy(given);
  expect(first).toEqual(given);
  const [before] = first;
  given[0]?.data.fill(9);
  expect([...(before?.data ?? [])]).toEqual([1, 2, 3]);
  // Not given back: nobody else gets it.
  expect(memory.copy([tensor(4)])[0]?.data.buffer).not.toBe(before?.data.buffer);
  memory.giveBack(first);
  const again = memory.copy([tensor(5), tensor(6)]);
  expect(new Set(again.map(({ data }) => data.buffer))).toEqual(
    new Set(first.map(({ data }) => data.buffer)),
  );
  expect(again).toEqual([tensor(5), tensor(6)]);
});

test("no more is kept than the bound", () => {
  const memory = new SpareMemory({ mostBytes: 4096 });
  const first = memory.copy([tensor(1), tensor(2)]);
  memory.giveBack(first);
  const kept = first.map(({ data }) => data.buffer);
  const again = memory.copy([tensor(3), tensor(4)]).map(({ data }) => data.buffer);
  expect(again.filter((buffer) => kept.includes(buffer))).toHaveLength(1);
});

test("a copy lies as its original does, for it is ten times faster then", () => {
  const memory = new SpareMemory({ mostBytes: 10_000 });
  for (const offset of [3, 8, 13, 3]) {
    const data = new Uint8Array(5000).fill(offset).subarray(offset, offset + 4096);
    const copies = memory.copy([{ name: "x", datatype: "UINT8", shape: [4096], data }]);
    expect(copies[0]?.data).toEqual(data);
    expect(copies[0]?.data.byteOffset).toBe(offset % 8);
    memory.giveBack(copies);
  }
});
