import { expect, test } from "vitest";
import { createSlices } from "../../src/core/slices.ts";

test("pieces wait for spare time until none came, and for a turn of the event loop from then on", async () => {
  const idle = [true, true, false];
  let waits = 0;
  const slices = createSlices({ wait: () => Promise.resolve(idle[waits++] ?? true) });
  for (let piece = 0; piece < 10; piece += 1) await slices.pause();
  expect(waits).toBe(3);
});
