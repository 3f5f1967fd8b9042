import { setImmediate as turn, setTimeout as after } from "node:timers/promises";
import { expect, test } from "vitest";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import { createSpareTime } from "../../src/core/spare-time.ts";

function open() {
  const load = new LiveLoadCounter();
  const spareTime = createSpareTime(load);
  const done: string[] = [];
  const wait = (name: string, ready?: () => boolean) =>
    spareTime.wait(ready).then(() => void done.push(name));
  return { load, wait, done };
}

test("an idle thread gives each caller a turn of its own, in order", async () => {
  const { wait, done } = open();
  const all = [wait("a"), wait("b"), wait("c")];
  const seen: string[] = [];
  for (let n = 0; n < 3; n += 1) {
    await turn();
    seen.push(done.join(""));
  }
  await Promise.all(all);
  expect(seen).toEqual(["a", "ab", "abc"]);
});

test("it is put off while a request is being answered, also one that comes between two pieces", async () => {
  const { load, wait, done } = open();
  load.begin();
  void wait("a").then(() => load.begin());
  const b = wait("b");
  await turn();
  expect(done).toEqual([]);
  load.end();
  await turn();
  await turn();
  await turn();
  expect(done).toEqual(["a"]);
  load.end();
  await b;
  expect(done).toEqual(["a", "b"]);
});

test("it comes though there is always a request", async () => {
  const { load, wait } = open();
  load.begin();
  // Would not end.
  await Promise.all([wait("a"), wait("b")]);
  expect(load.inFlight).toBe(1);
});

test("who is not ready holds up nobody, and is asked again when no request is left", async () => {
  const { load, wait, done } = open();
  let ready = false;
  const a = wait("a", () => ready);
  await wait("b");
  ready = true;
  await after(30);
  expect(done).toEqual(["b"]);
  load.begin();
  load.end();
  await a;
  expect(done).toEqual(["b", "a"]);
});
