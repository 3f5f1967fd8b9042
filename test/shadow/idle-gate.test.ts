import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import { createIdleGate } from "../../src/shadow/idle-gate.ts";

function open(utilization: () => number = () => 0) {
  const load = new LiveLoadCounter();
  const gate = createIdleGate({ load, pollMs: 0.2, utilization, seconds: systemClock.seconds });
  const wait = (patienceSeconds: number, idleSeconds = Infinity) =>
    gate.wait({ maxUtilization: 0.7, idleSeconds, patienceSeconds });
  return { load, wait };
}

test("is open while nothing is in flight", async () => {
  expect(await open().wait(0)).toBe(true);
});

test("opens with the last of the requests in flight, not before", async () => {
  const { load, wait } = open();
  load.begin();
  load.begin();
  let through: boolean | undefined;
  const waited = wait(30).then((answer) => (through = answer));
  load.end();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(through).toBeUndefined();
  load.end();
  expect(await waited).toBe(true);
});

test("stays shut when the next request comes with the last reply", async () => {
  const { load, wait } = open();
  load.begin();
  const waited = wait(0.05);
  load.end();
  load.begin();
  expect(await waited).toBe(false);
});

test("stays shut while the device is busy, and opens when it no longer is", async () => {
  let utilization = 0.9;
  const { wait } = open(() => utilization);
  expect(await wait(0.05)).toBe(false);
  const waited = wait(30);
  utilization = 0.5;
  expect(await waited).toBe(true);
});

test("the event loop turns while it waits", async () => {
  const { load, wait } = open();
  load.begin();
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1);
  expect(await wait(0.1)).toBe(false);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(5);
});

test("opens beside what is in flight once an idle moment was waited for long enough, the device not being busy", async () => {
  let utilization = 0.5;
  const { load, wait } = open(() => utilization);
  load.begin();
  const began = systemClock.seconds();
  expect(await wait(30, 0.05)).toBe(true);
  expect(systemClock.seconds() - began).toBeGreaterThanOrEqual(0.05);
  utilization = 0.9;
  expect(await wait(0.05, 0.001)).toBe(false);
});
