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

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

test("two a turn of the event loop, in order", async () => {
  const { told, ask } = scene();
  for (const number of numbers(1, 5)) ask(number);
  expect(told).toEqual([]);
  for (const last of [2, 4, 5]) {
    await setImmediate();
    expect(told).toEqual(numbers(1, last));
  }
  ask(6);
  await setImmediate();
  expect(told).toEqual(numbers(1, 6));
});

test("six where the first has waited for a tenth of a second", async () => {
  const { time, told, ask } = scene();
  for (const number of numbers(1, 15)) ask(number);
  time.ms = 101;
  for (const number of numbers(16, 20)) ask(number);
  for (const last of [6, 12, 18, 20]) {
    await setImmediate();
    expect(told).toEqual(numbers(1, last));
  }
});
