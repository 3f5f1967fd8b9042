import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog, type Log } from "../../src/core/log.ts";
import { listen, type HttpServer } from "../../src/http/listen.ts";
import { createTracing } from "../../src/tracing/tracing.ts";
import { newFolder, openScene, writeModel, type Scene, type ScriptedEngine } from "../gateway/_gateway.ts";
import { attribute, openCollector, type OtlpSpan } from "./_collector.ts";

let collector: Awaited<ReturnType<typeof openCollector>>;
let scene: Scene | undefined;
let server: HttpServer | undefined;

beforeEach(async () => {
  collector = await openCollector();
});

afterEach(async () => {
  await server?.close({ drainMs: 0 });
  await scene?.end();
  await collector.close();
  server = scene = undefined;
});

/** A whole gateway with its HTTP face; `engines` all belong to model "m". */
async function open(engines: Record<string, ScriptedEngine>, tracing: object, model: object = {}) {
  const folder = await newFolder();
  await writeModel(folder, "m", engines, model);
  scene = await openScene(folder, { tracing });
  const config = { host: "127.0.0.1", port: 0, access: {}, limits: { bodyBytes: 1_000_000 } };
  server = await listen(scene.services, { config, version: "test", log: silentLog });
  return server.url;
}

function infer(url: string, { model = "m", headers = {}, data = [1, 2, 3, 4] } = {}): Promise<Response> {
  return fetch(`${url}/v2/models/${model}/infer`, {
    method: "POST",
    headers,
    body: JSON.stringify({ id: "r1", inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data }] }),
  });
}

const caller = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };
const named = (name: string): OtlpSpan | undefined => collector.spans.find((span) => span.name === name);
const request = "POST /v2/models/{model}/infer";

describe("spans of a request", () => {
  test("receipt, queue, engine and reply lie in the request's span, which lies in the caller's", async () => {
    const url = await open({ a: { sleepMicroseconds: 3000 } }, { otlpUrl: collector.url });
    const headers = { traceparent: `00-${caller.traceId}-${caller.spanId}-01` };
    const reply = await infer(url, { headers });
    expect(reply.status).toBe(200);
    await expect
      .poll(() => collector.spans.map(({ name }) => name).toSorted())
      .toEqual(["engine", "queue", "receipt", "reply", request].toSorted());
    const root = named(request) as OtlpSpan;
    expect(root).toMatchObject({ traceId: caller.traceId, parentSpanId: caller.spanId, kind: 2 });
    expect(reply.headers.get("traceparent")).toBe(`00-${caller.traceId}-${root.spanId}-01`);
    expect(attribute(root, "crosscheck.request_id")).toBe("r1");
    expect(attribute(root, "crosscheck.engine")).toBe("a");
    expect(Number(attribute(root, "http.response.status_code"))).toBe(200);

    const parts = ["receipt", "queue", "engine", "reply"].map((name) => named(name) as OtlpSpan);
    for (const part of parts) {
      expect(part).toMatchObject({ traceId: caller.traceId, parentSpanId: root.spanId });
      expect(BigInt(part.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(root.startTimeUnixNano) - slack);
      expect(BigInt(part.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(root.endTimeUnixNano) + slack);
    }
    for (const [index, part] of parts.entries()) {
      const before = parts[index - 1];
      if (before)
        expect(BigInt(part.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(before.endTimeUnixNano) - slack);
    }
    const engine = named("engine") as OtlpSpan;
    const engineNanos = BigInt(engine.endTimeUnixNano) - BigInt(engine.startTimeUnixNano);
    expect(engineNanos).toBeGreaterThanOrEqual(3_000_000n);
    expect(Number(attribute(engine, "crosscheck.engine_seconds"))).toBeGreaterThanOrEqual(0.003);
    // Wall time, not the monotonic clock's.
    expect(Math.abs(Number(BigInt(root.endTimeUnixNano) / 1_000_000n) - Date.now())).toBeLessThan(60_000);
  });

  test("a request without traceparent begins a trace; the reply names it", async () => {
    const url = await open({ a: {} }, { otlpUrl: collector.url });
    const reply = await infer(url);
    const [, traceId, spanId] = (reply.headers.get("traceparent") ?? "").split("-");
    await expect.poll(() => named(request)).toMatchObject({ traceId, spanId });
    expect(named(request)?.parentSpanId).toBeFalsy();
  });

  test.each([
    ["malformed", "00-xyz-00f067aa0ba902b7-01"],
    ["all zeros", `00-${"0".repeat(32)}-${caller.spanId}-01`],
  ])("a %s traceparent is ignored", async (_, traceparent) => {
    const url = await open({ a: {} }, { otlpUrl: collector.url });
    const reply = await infer(url, { headers: { traceparent } });
    expect(reply.headers.get("traceparent")).toMatch(/^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  });

  test("a caller that does not sample is not recorded, and its trace goes on unsampled", async () => {
    const url = await open({ a: {} }, { otlpUrl: collector.url });
    const headers = { traceparent: `00-${caller.traceId}-${caller.spanId}-00` };
    const quiet = await infer(url, { headers });
    expect(quiet.headers.get("traceparent")).toMatch(new RegExp(`^00-${caller.traceId}-[0-9a-f]{16}-00$`));
    await infer(url);
    await expect.poll(() => named(request)).toBeDefined();
    expect(collector.spans.filter(({ traceId }) => traceId === caller.traceId)).toEqual([]);
  });

  test("sampleRatio 0 records only what callers sample", async () => {
    const url = await open({ a: {} }, { otlpUrl: collector.url, sampleRatio: 0 });
    expect((await infer(url)).headers.get("traceparent")).toMatch(/-00$/);
    await infer(url, { headers: { traceparent: `00-${caller.traceId}-${caller.spanId}-01` } });
    await expect.poll(() => named(request)?.traceId).toBe(caller.traceId);
    expect(collector.spans.filter(({ name }) => name === request)).toHaveLength(1);
  });

  test("a refused request is a span with its status; only our own faults are errors", async () => {
    const url = await open({ a: {} }, { otlpUrl: collector.url });
    expect((await infer(url, { data: [1] })).status).toBe(400);
    await expect.poll(() => named(request)).toBeDefined();
    expect(Number(attribute(named(request) as OtlpSpan, "http.response.status_code"))).toBe(400);
    expect(named(request)?.status.code).toBe(0);
    expect(named("engine")).toBeUndefined();
  });
});

test("shadow runs are a trace of their own whose spans link to the request's", async () => {
  const url = await open({ a: {}, b: {} }, { otlpUrl: collector.url }, { shadow: { maxUtilization: 1 } });
  const headers = { traceparent: `00-${caller.traceId}-${caller.spanId}-01` };
  await infer(url, { headers });
  await expect
    .poll(() => collector.spans.filter(({ name }) => name === "shadow run"), { timeout: 20_000 })
    .toHaveLength(2);
  const root = named(request) as OtlpSpan;
  const shadow = named("shadow") as OtlpSpan;
  const runs = collector.spans.filter(({ name }) => name === "shadow run");
  expect(shadow.traceId).not.toBe(caller.traceId);
  for (const span of [shadow, ...runs])
    expect(span.links).toMatchObject([{ traceId: caller.traceId, spanId: root.spanId }]);
  for (const run of runs) expect(run).toMatchObject({ traceId: shadow.traceId, parentSpanId: shadow.spanId });
  expect(
    runs
      .map(
        (run) =>
          `${String(attribute(run, "crosscheck.engine"))} ${String(attribute(run, "crosscheck.role"))}`,
      )
      .toSorted(),
  ).toEqual(["a control", "b shadow"]);
});

test("a slow request is found again: request_duration_seconds carries its trace id, without tracing its request id", async () => {
  const scrape = async (url: string) =>
    (await fetch(`${url}/metrics`, { headers: { accept: "application/openmetrics-text" } })).text();
  const traced = await open({ a: {} }, { otlpUrl: collector.url });
  await infer(traced, { headers: { traceparent: `00-${caller.traceId}-${caller.spanId}-01` } });
  await expect
    .poll(() => scrape(traced))
    .toMatch(new RegExp(`request_duration_seconds_bucket\\{.*# \\{trace_id="${caller.traceId}"\\}`));
  await server?.close({ drainMs: 0 });
  await scene?.end();
  const plain = await open({ a: {} }, {});
  const reply = await infer(plain);
  expect(reply.headers.get("traceparent")).toBeNull();
  await expect.poll(() => scrape(plain)).toMatch(/request_duration_seconds_bucket\{.*# \{request_id="r1"\}/);
});

test("closing the gateway sends what is left; resource and scope name Crosscheck", async () => {
  const url = await open({ a: {} }, { otlpUrl: collector.url });
  await infer(url);
  await server?.close({ drainMs: 0 });
  await scene?.stop();
  expect(named(request)).toBeDefined();
  expect(JSON.stringify(collector.resources)).toContain('"crosscheck"');
});

test("a collector that refuses costs spans and one warning, which holds no secret; requests go on", async () => {
  collector.status = 400;
  const warnings: { fields: object; message: string }[] = [];
  const log: Log = { ...silentLog, warn: (fields, message) => void warnings.push({ fields, message }) };
  const otlpUrl = `${collector.url.replace("//", "//user:hunter2@")}/?token=hunter2`;
  const tracing = createTracing({
    otlpUrl,
    sampleRatio: 1,
    version: "test",
    random: Math.random,
    clock: systemClock,
    log,
  });
  for (let round = 0; round < 2; round++) {
    const now = systemClock.seconds();
    const answer = {
      id: "r1",
      engine: "a",
      status: 200,
      seconds: 0.001,
      receiptSeconds: 0,
      encodeSeconds: 0,
    };
    tracing.begin({}, "m", now).end(answer);
    await expect.poll(() => collector.posts).toBeGreaterThan(round);
  }
  await tracing.close();
  expect(warnings).toMatchObject([
    { fields: { lostSpans: 3 }, message: expect.stringMatching(/tracing\.otlpUrl/) },
  ]);
  expect(JSON.stringify(warnings)).not.toContain("hunter2");
});

/** Float rounding of epoch milliseconds. */
const slack = 2_000n;
