import { expect, test } from "vitest";
import type { Tensor } from "../../src/core/tensor.ts";
import { compareRuns } from "../../src/shadow/compare-runs.ts";

const tensor = (name: string, value: number): Tensor => ({
  name,
  datatype: "UINT8",
  shape: [1],
  data: Uint8Array.of(value),
});
const y = (value: number) => [tensor("y", value)];

/** Reference, candidate and result of each. */
function compared(
  outputs: readonly (readonly Tensor[] | undefined)[],
  how: { base?: number; replied?: number; reply?: readonly Tensor[] },
) {
  const { base, replied, reply = [] } = how;
  const options = { task: "tensor" } as const;
  return compareRuns(outputs, { base, replied, reply, options }).map(
    ({ reference, candidate, difference }) => [reference, candidate, difference.result],
  );
}

test("every other run with the base's, and the run of who replied with the reply", () => {
  expect(compared([y(1), y(2), y(1)], { base: 2, replied: 0, reply: y(3) })).toEqual([
    [2, 0, "bit_equal"],
    [2, 1, "diverged"],
    [0, 0, "diverged"],
  ]);
});

test("the base's own run too, where it replied", () => {
  expect(compared([y(1), y(1)], { base: 0, replied: 0, reply: y(1) })).toEqual([
    [0, 1, "bit_equal"],
    [0, 0, "bit_equal"],
  ]);
});

test("of the outputs that the client asked for alone", () => {
  const both = [tensor("y", 1), tensor("z", 2)];
  expect(compared([both], { replied: 0, reply: [tensor("z", 2)] })).toEqual([[0, 0, "bit_equal"]]);
});

test("runs that failed, and bases that are not there, are compared with nothing", () => {
  expect(compared([undefined, y(1)], { base: 0, replied: 0, reply: y(1) })).toEqual([]);
  expect(compared([y(1), undefined, y(1)], { base: 0 })).toEqual([[0, 2, "bit_equal"]]);
  expect(compared([y(1), y(1)], {})).toEqual([]);
});
