import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createFailoverNotes, type Failover } from "../../src/inference/failover-notes.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function failover(from: string, reason = "exited"): Failover {
  return { model: { name: "m" }, from: { id: from }, to: { id: "b" }, reason } as unknown as Failover;
}

test("the first at once, then one line an engine and minute with a count, and the rest at the end", () => {
  const lines: string[] = [];
  const notes = createFailoverNotes({
    write: ({ from, reason }, requests) => void lines.push(`${from.id} ${reason} ${requests}`),
  });
  for (let i = 0; i < 100; i++) notes.add(failover("a"));
  notes.add(failover("c"));
  notes.add(failover("a", "hung"));
  expect(lines).toEqual(["a exited 1", "c exited 1"]);
  vi.advanceTimersByTime(60_000);
  expect(lines).toEqual(["a exited 1", "c exited 1", "a hung 100"]);
  // The minute after a line too is written at its end.
  notes.add(failover("a"));
  notes.add(failover("a"));
  expect(lines).toHaveLength(3);
  notes.close();
  expect(lines.slice(3)).toEqual(["a exited 2"]);
  vi.advanceTimersByTime(600_000);
  expect(lines).toHaveLength(4);
  expect(vi.getTimerCount()).toBe(0);
});
