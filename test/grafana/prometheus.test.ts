import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureSystemPackage } from "../../scripts/system-packages.mjs";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Devices } from "../../src/devices/devices.ts";
import { createDevices } from "../../src/devices/devices.ts";
import { createReplayDevices } from "../../src/devices/replay.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";
import { buildFakeNvml } from "../devices/_fake-nvml.ts";
import { dashboardExpressions, filled, rules, rulesFolder, selectors } from "./_expressions.ts";
import { createFeeder } from "./_feeder.ts";
import type { Prometheus } from "./_prometheus.ts";
import { startPrometheus } from "./_prometheus.ts";

const missing = await ensureSystemPackage({ package: "prometheus", command: "prometheus" });

describe.skipIf(missing !== undefined)(`Prometheus (${missing ?? "the Debian package"})`, () => {
  const metrics = createMetrics({ clock: systemClock });
  const service = createMetricsService({ metrics });
  const feeder = createFeeder(metrics);
  // Device panels show what real hardware read (scripts/record-devices.mjs), or the library made for the tests.
  const recordings = fileURLToPath(new URL("../devices/recordings/", import.meta.url));
  const replays = (existsSync(recordings) ? readdirSync(recordings) : []).map((file) =>
    createReplayDevices({ file: `${recordings}${file}`, clock: systemClock, metrics }),
  );
  let devices: Devices | undefined;
  const accepted: string[] = [];
  const server = createServer((request, response) => {
    const scrape = service.scrape(request.headers.accept);
    accepted.push(scrape.contentType);
    void scrape.text().then((text) => response.setHeader("content-type", scrape.contentType).end(text));
  });
  let timer: NodeJS.Timeout;
  let prometheus: Prometheus;

  beforeAll(async () => {
    if (replays.length === 0) {
      const nvmlLibrary = buildFakeNvml();
      devices = createDevices({ clock: systemClock, log: silentLog, metrics, nvmlLibrary, intervalMs: 250 });
    }
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    timer = setInterval(() => {
      feeder.step();
      for (const replay of replays) replay.step();
    }, 250);
    prometheus = await startPrometheus(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    // Rates need a few scrapes, recording rules an evaluation after them, the annotation a switch.
    const last = rules("recording.yaml").at(-1)?.name ?? "";
    for (let tries = 0; tries < 60; tries += 1) {
      const [scrapes, recorded] = [
        await prometheus.query("count_over_time(up[1m])"),
        await prometheus.query(last),
      ];
      if (Number(scrapes.result[0]?.value[1] ?? 0) >= 8 && recorded.result.length > 0) break;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  });

  afterAll(async () => {
    clearInterval(timer);
    devices?.close();
    server.close();
    await prometheus?.close();
  });

  it("scrapes OpenMetrics, with no sample refused", async () => {
    expect(accepted.at(-1)).toMatch(/openmetrics/);
    const { result } = await prometheus.query('up{job="crosscheck"}');
    expect(result.map((one) => one.value[1])).toEqual(["1"]);
    const targets = (await prometheus.get("/api/v1/targets")) as { activeTargets: { lastError: string }[] };
    expect(targets.activeTargets.map((target) => target.lastError)).toEqual([""]);
  });

  it.each(dashboardExpressions())("$where: $text", async (expression) => {
    const { resultType, result } = await prometheus.query(filled(expression));
    expect(resultType).toBe("vector");
    expect(result.length).toBeGreaterThan(0);
    for (const { metric, value } of result) {
      expect(Object.keys(metric)).toEqual(expect.arrayContaining([...expression.legendLabels]));
      expect(value[1]).toMatch(/^-?[\d.]+(e[+-]?\d+)?$/);
    }
  });

  it.each(rules("recording.yaml"))("recording rule $name has data", async ({ name }) => {
    const { result } = await prometheus.query(name);
    expect(result.length).toBeGreaterThan(0);
  });

  it.each(rules("alerts.yaml"))("alert $name selects data", async ({ text }) => {
    for (const selector of selectors(text)) {
      const { result } = await prometheus.query(selector);
      expect(result.length, selector).toBeGreaterThan(0);
    }
  });

  it("evaluates every rule without an error", async () => {
    const rules = async () => {
      const { groups } = (await prometheus.get("/api/v1/rules")) as {
        groups: { rules: { name: string; health: string; lastError?: string }[] }[];
      };
      return groups.flatMap((group) => group.rules);
    };
    // Groups are evaluated one after another from the start on.
    await expect.poll(async () => (await rules()).every(({ health }) => health !== "unknown")).toBe(true);
    const unhealthy = (await rules()).filter(({ health }) => health !== "ok");
    expect(unhealthy).toEqual([]);
  });

  it("keeps exemplars that lead from a bucket to a request", async () => {
    const query = encodeURIComponent("crosscheck_request_duration_seconds_bucket");
    const start = Date.now() / 1000 - 600;
    const found = (await prometheus.get(
      `/api/v1/query_exemplars?query=${query}&start=${start}&end=${start + 1200}`,
    )) as { exemplars: { labels: Record<string, string> }[] }[];
    expect(found[0]?.exemplars[0]?.labels["request_id"]).toMatch(/^r-\d+-\d+$/);
  });

  it("has nothing for promtool to complain about", async () => {
    const input = await service.scrape(undefined).text();
    expect(execFileSync("promtool", ["check", "metrics"], { input, encoding: "utf8" })).toBe("");
  });

  it("passes promtool's unit tests of the rules", () => {
    const cwd = fileURLToPath(rulesFolder);
    const output = execFileSync("promtool", ["test", "rules", "rules.test.yaml"], { cwd, encoding: "utf8" });
    expect(output).toContain("SUCCESS");
  });
});
