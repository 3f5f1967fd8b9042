import { afterEach, expect, it, vi } from "vitest";
import { watchEventLoop } from "../../src/metrics/event-loop.ts";

afterEach(() => {
  vi.useRealTimers();
});

it("shows how long the event loop stood still, and forgets it with the window", async () => {
  // Only the 10 s window's timer is made to run early; the delay is measured by Node for real.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const shown = new Map<string | number, number>();
  const watch = watchEventLoop({
    set: (_name, labels, value) => {
      if ("percentile" in labels) shown.set(labels.percentile, value);
    },
  });
  const turns = () => new Promise((resolve) => setTimeout(resolve, 200));
  await turns();
  const until = performance.now() + 400;
  while (performance.now() < until);
  await turns();
  vi.advanceTimersByTime(10_000);
  expect(shown.get(100)).toBeGreaterThan(0.3);
  expect(shown.get(50)).toBeLessThan(shown.get(100) as number);

  watch.close();
  shown.clear();
  vi.advanceTimersByTime(20_000);
  expect(shown.size).toBe(0);
});
