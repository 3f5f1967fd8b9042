import { expect, test } from "vitest";
import { Cancellation } from "../../src/core/cancellation.ts";

test("everyone who waits is told the first reason, once", () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  cancellation.onCancel(({ message }) => told.push(`a: ${message}`));
  cancellation.onCancel(({ message }) => told.push(`b: ${message}`));
  cancellation.throwIfCancelled();
  cancellation.cancel(new Error("gone"));
  cancellation.cancel(new Error("late"));
  expect(told).toEqual(["a: gone", "b: gone"]);
  expect(cancellation.reason?.message).toBe("gone");
  expect(() => cancellation.throwIfCancelled()).toThrow("gone");
});

test("who comes too late is told at once, who has left is not told", () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  const left = (): void => void told.push("left");
  cancellation.onCancel(left);
  cancellation.removeListener(left);
  cancellation.cancel(new Error("gone"));
  cancellation.onCancel(({ message }) => told.push(message));
  expect(told).toEqual(["gone"]);
});

test("a listener that leaves while others are told takes nobody's place", () => {
  const cancellation = new Cancellation();
  const told: string[] = [];
  const first = (): void => {
    told.push("first");
    cancellation.removeListener(first);
  };
  cancellation.onCancel(first);
  cancellation.onCancel(() => told.push("second"));
  cancellation.cancel(new Error("gone"));
  expect(told).toEqual(["first", "second"]);
});
