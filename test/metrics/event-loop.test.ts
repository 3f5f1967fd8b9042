import { afterEach, expect, it, vi } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { watchEventLoop } from "../../src/metrics/event-loop.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";

afterEach(() => {
  vi.useRealTimers();
});

it("shows how long the event loop stood still, and forgets it with the window", async () => {
  // Only the 10 s window's timer is made to run early; the delay is measured by Node for real.
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const metrics = createMetrics({ clock: systemClock });
  const watch = watchEventLoop(metrics);
  const shown = async (percentile: number): Promise<number> => {
    const text = await createMetricsService({ metrics }).scrape(undefined).text();
    const line = new RegExp(`event_loop_delay_seconds{percentile="${percentile}"} (.*)`).exec(text);
    return Number(line?.[1] ?? Number.NaN);
  };
  const turns = () => new Promise((resolve) => setTimeout(resolve, 200));
  const stall = async (milliseconds: number) => {
    await turns();
    const until = performance.now() + milliseconds;
    while (performance.now() < until);
    await turns();
    vi.advanceTimersByTime(10_000);
  };

  await stall(1_500);
  const longest = await shown(100);
  expect(longest).toBeGreaterThan(1.4);
  expect(await shown(50)).toBeLessThan(longest);

  await stall(0);
  expect(await shown(100)).toBeLessThan(longest);

  watch.close();
  metrics.set("event_loop_delay_seconds", { percentile: 100 }, 0);
  vi.advanceTimersByTime(20_000);
  expect(await shown(100)).toBe(0);
});
