import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Metrics } from "./metrics.ts";

const resolutionMs = 20;
const windowMs = 10_000;

/** Keeps event_loop_delay_seconds (50, 99, 100) over the last full 10 s. */
export function watchEventLoop(metrics: Pick<Metrics, "set">): { close(): void } {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  const timer = setInterval(() => {
    for (const percentile of [50, 99, 100]) {
      // Node records the time between two ticks of its timer, so the timer's own period comes off.
      const seconds = delay.percentile(percentile) / 1e9 - resolutionMs / 1e3;
      metrics.set("event_loop_delay_seconds", { percentile }, Math.max(0, seconds));
    }
    delay.reset();
  }, windowMs).unref();
  return {
    close() {
      clearInterval(timer);
      delay.disable();
    },
  };
}
