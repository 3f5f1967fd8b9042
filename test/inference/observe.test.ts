import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { observeAnswered } from "../../src/inference/observe.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";

test.each<[string, status: number, seconds: number, misses: number | undefined]>([
  ["in time", 200, 0.019, 0],
  ["late", 200, 0.021, 1],
  ["an error of the engine is no answer, however soon it came", 500, 0.001, 1],
  ["nor is one where no engine can serve", 503, 0.001, 1],
  ["out of time", 504, 0.03, 1],
  ["out of the time that its client gave it, which was less than the deadline", 504, 0.01, 0],
  ["refused: nothing to be late with", 400, 0.03, undefined],
  ["the client left", 499, 0.03, undefined],
])("a missed deadline: %s", async (_, status, seconds, misses) => {
  const metrics = createMetrics({ clock: systemClock });
  const answer = { model: "m", engine: "a", status, seconds, deadlineSeconds: 0.02, exemplar: undefined };
  observeAnswered(metrics, answer);
  const text = await createMetricsService({ metrics }).scrape(undefined).text();
  expect(text).toContain(`requests_total{model="m",engine="a",code="${status}"} 1`);
  const [, counted] = /deadline_misses_total\{model="m",engine="a"\} (\d+)/.exec(text) ?? [];
  expect(counted).toBe(misses?.toString());
});
