import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { createRejections } from "../../src/http/rejections.ts";

function scene() {
  const time = { ms: 0 };
  const rejections = createRejections(() => time.ms);
  const told: number[] = [];
  const ask = (number: number) => void rejections.turn().then(() => told.push(number));
  return { time, told, ask };
}

test("one a turn of the event loop, in order", async () => {
  const { told, ask } = scene();
  for (const number of [1, 2, 3]) ask(number);
  expect(told).toEqual([]);
  for (const expected of [[1], [1, 2], [1, 2, 3]]) {
    await setImmediate();
    expect(told).toEqual(expected);
  }
  ask(4);
  await setImmediate();
  expect(told).toEqual([1, 2, 3, 4]);
});

test("none is kept for longer than half a second", async () => {
  const { time, told, ask } = scene();
  for (const number of [1, 2, 3]) ask(number);
  time.ms = 300;
  for (const number of [4, 5]) ask(number);
  time.ms = 600;
  await setImmediate();
  expect(told).toEqual([1, 2, 3]);
  await setImmediate();
  expect(told).toEqual([1, 2, 3, 4]);
});
