import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { catalog, metricPrefix } from "../../src/metrics/catalog.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";
import { manualClock } from "./_helpers.ts";

function setUp() {
  const clock = manualClock();
  const metrics = createMetrics({ clock });
  const service = createMetricsService({ metrics });
  return { clock, metrics, service, text: (accept?: string) => service.scrape(accept).text() };
}

const lines = (text: string, name: string): string[] =>
  text.split("\n").filter((line) => line.startsWith(`${metricPrefix}${name}`));

describe("catalogue", () => {
  it("gives histograms ascending buckets and no other kind any", () => {
    for (const [name, definition] of Object.entries(catalog)) {
      const buckets: readonly number[] = "buckets" in definition ? definition.buckets : [];
      expect(buckets.length > 0, name).toBe(definition.kind === "histogram");
      expect([...buckets].sort((a, b) => a - b)).toEqual(buckets);
    }
  });

  it("ends counters, and only counters, with _total", () => {
    for (const [name, { kind }] of Object.entries(catalog)) {
      expect(name.endsWith("_total"), name).toBe(kind === "counter");
    }
  });
});

describe("recorder", () => {
  it("writes the same text as prom-client for the same data", async () => {
    const { metrics, text } = setUp();
    const registry = new Registry();
    const theirs = {
      counter: new Counter({
        name: "crosscheck_requests_total",
        help: catalog.requests_total.help,
        labelNames: [...catalog.requests_total.labels],
        registers: [registry],
      }),
      gauge: new Gauge({
        name: "crosscheck_queue_length",
        help: catalog.queue_length.help,
        labelNames: [...catalog.queue_length.labels],
        registers: [registry],
      }),
      histogram: new Histogram({
        name: "crosscheck_cold_start_seconds",
        help: catalog.cold_start_seconds.help,
        labelNames: [...catalog.cold_start_seconds.labels],
        buckets: [...catalog.cold_start_seconds.buckets],
        registers: [registry],
      }),
    };
    for (const model of ["a", 'quo"te', "back\\slash", "line\nfeed", ""]) {
      metrics.inc("requests_total", { model, engine: "e", code: 200 }, 3);
      theirs.counter.inc({ model, engine: "e", code: "200" }, 3);
      metrics.set("queue_length", { model }, -1.5);
      theirs.gauge.set({ model }, -1.5);
      for (const seconds of [0.1, 0.11, 7, 1000]) {
        metrics.observe("cold_start_seconds", { model, engine: "e" }, seconds);
        theirs.histogram.observe({ model, engine: "e" }, seconds);
      }
    }
    const sorted = (s: string) =>
      s
        .split("\n")
        .filter((line) => line !== "")
        .sort();
    // prom-client writes le first and without ".0".
    const want = (await registry.metrics())
      .replaceAll(/\{(le="[^"]*"),(.*)\}/g, "{$2,$1}")
      .replaceAll(/le="(\d+)"/g, 'le="$1.0"');
    expect(sorted(await text())).toEqual(sorted(want));
  });

  it("leaves out values that a counter or a histogram cannot hold", async () => {
    const { metrics, text } = setUp();
    for (const bad of [Number.NaN, Infinity, -1]) {
      metrics.inc("requests_total", { model: "a", engine: "e", code: 200 }, bad);
      metrics.observe("queue_duration_seconds", { model: "a" }, bad);
      metrics.latency({ model: "a", engine: "e", role: "active" }).record(bad);
    }
    expect(await text()).not.toMatch(/ (NaN|[-+]Inf|-1)$/m);
    expect(lines(await text(), "latency_percentile")).toEqual([]);
  });

  it("takes a removed model's series away and leaves the others", async () => {
    const { metrics, text } = setUp();
    for (const model of ["gone", "stays"]) {
      metrics.latency({ model, engine: "e1", role: "shadow" }).record(0.001);
      metrics.inc("requests_total", { model, engine: "e1", code: 200 });
      metrics.set("verdict", { model, candidate: "e1", rule: "flipRatio" }, 1);
      metrics.set("verdict", { model, candidate: "e2", rule: "flipRatio" }, 1);
    }
    metrics.removeModel({ model: "gone" });
    metrics.removeModel({ model: "stays", engine: "e2" });
    const after = await text();
    expect(after).not.toContain("gone");
    expect(lines(after, "verdict")).toEqual([
      'crosscheck_verdict{model="stays",candidate="e1",rule="flipRatio"} 1',
    ]);
    expect(lines(after, "latency_percentile_seconds")).toHaveLength(6);
    metrics.latency({ model: "gone", engine: "e1", role: "shadow" }).record(0.001);
    expect(lines(await text(), "latency_percentile_seconds")).toHaveLength(12);
  });

  it("feeds histogram, percentiles and jitter from one record", async () => {
    const { clock, metrics, text } = setUp();
    const latency = metrics.latency({ model: "m", engine: "e", role: "active" });
    for (let n = 1; n <= 1000; n += 1) latency.record(n / 1000);
    const summary = latency.summary();
    expect(summary?.count).toBe(1000);
    expect(summary?.percentiles["99.9"]).toBeCloseTo(0.999, 2);
    expect(summary?.jitter.pdv).toBeCloseTo(0.989, 2);
    expect(summary?.jitter.ipdv).toBeCloseTo(0.001, 4);
    expect(summary?.jitter.iqr).toBeCloseTo(0.5, 2);
    const shown = await text();
    expect(shown).toContain(
      'crosscheck_inference_duration_seconds_count{model="m",engine="e",role="active"} 1000',
    );
    expect(lines(shown, "jitter_seconds")).toHaveLength(3);
    clock.advance(400);
    const later = await text();
    expect(lines(later, "latency_percentile_seconds")).toEqual([]);
    expect(lines(later, "inference_duration_seconds_count")).toHaveLength(1);
  });

  it("shows a new percentile at most 2 s late", async () => {
    const { clock, metrics, text } = setUp();
    const latency = metrics.latency({ model: "m", engine: "e", role: "active" });
    latency.record(0.001);
    await text();
    latency.record(5);
    clock.advance(1.9);
    expect(lines(await text(), "latency_percentile_seconds").at(-1)).toMatch(/percentile="100"} 5/);
  });
});

describe("exposition", () => {
  it("answers OpenMetrics with exemplars to Prometheus's Accept header, text 0.0.4 otherwise", async () => {
    const { metrics, service, text } = setUp();
    const labels = { model: "m", engine: "e", code: 200 };
    metrics.observe("request_duration_seconds", labels, 0.3, { request_id: 'r"1' });
    metrics.inc("requests_total", labels);
    const accept =
      "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    expect(service.scrape(accept).contentType).toMatch(/^application\/openmetrics-text/);
    const open = await text(accept);
    expect(open).toContain("# TYPE crosscheck_requests counter\n");
    expect(open).toMatch(/le="0.5"} 1 # {request_id="r\\"1"} 0.3 1700001000\n/);
    expect(open.endsWith("# EOF\n")).toBe(true);
    for (const plain of [undefined, "text/plain", "*/*", "application/openmetrics-text;q=0.1,text/plain"]) {
      expect(service.scrape(plain).contentType).toMatch(/^text\/plain; version=0.0.4/);
      expect(await text(plain)).not.toMatch(/# EOF|request_id/);
    }
  });

  it("keeps a metric's lines of one moment although the event loop turns in between", async () => {
    const { metrics } = setUp();
    const models = Array.from({ length: 20_000 }, (_, n) => `model-${n}`);
    for (const model of models) metrics.set("queue_length", { model }, 1);
    let chunks = 0;
    let text = "";
    for await (const chunk of metrics.expose("prometheus")) {
      chunks += 1;
      text += Buffer.from(chunk).toString();
      for (const model of models) metrics.set("queue_length", { model }, 2);
      metrics.removeModel({ model: models[chunks] as string });
    }
    expect(chunks).toBeGreaterThan(1);
    expect(lines(text, "queue_length").filter((line) => line.endsWith("} 1"))).toHaveLength(20_000);
  });

  it("gives histogram counts that never fall along the buckets and end at the count", async () => {
    const { metrics, text } = setUp();
    for (let n = 0; n < 100; n += 1) metrics.observe("queue_duration_seconds", { model: "m" }, n / 10);
    const counts = lines(await text(), "queue_duration_seconds_bucket").map((line) =>
      Number(line.split(" ")[1]),
    );
    expect([...counts].sort((a, b) => a - b)).toEqual(counts);
    expect(counts.at(-1)).toBe(100);
  });
});
