import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureSystemPackage } from "../../scripts/system-packages.mjs";
import { dashboardExpressions, filled, rules } from "./_expressions.ts";
import type { RunningGateway } from "./_gateway.ts";
import { noDemoModel, startGateway } from "./_gateway.ts";
import type { Prometheus } from "./_prometheus.ts";
import { startPrometheus } from "./_prometheus.ts";

const missing = (await ensureSystemPackage({ package: "prometheus", command: "prometheus" })) ?? noDemoModel;

/** What two healthy engines on a machine without a GPU do not produce. */
const absentHere = (text: string): boolean => text.includes("crosscheck_gpu_");

describe.skipIf(missing !== undefined)(
  `the whole gateway under load (${missing ?? "scraped by Prometheus"})`,
  () => {
    let gateway: RunningGateway;
    let prometheus: Prometheus;

    beforeAll(async () => {
      gateway = await startGateway();
      prometheus = await startPrometheus(new URL(gateway.url).host);
      const has = async (expression: string) => (await prometheus.query(expression)).result.length > 0;
      await eventually(() => has("crosscheck_comparisons_total"));
      // A hung host makes its request move and is replaced.
      for (const pid of gateway.hostPids()) {
        process.kill(pid, "SIGSTOP");
        await eventually(() => has("crosscheck_host_restarts_total"), 15);
        if (await has("crosscheck_failovers_total")) break;
      }
      const answer = await gateway.post("/v1/models/signs/switch", {
        engine: "onnxruntime-2",
        reason: "a test",
      });
      expect(answer.status).toBe(200);
      await eventually(() => has("crosscheck_switches_total"));
      await eventually(() => has("crosscheck_event_loop_delay_seconds"));
      // Rates of what came last need two more scrapes.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
    }, 180_000);

    afterAll(async () => {
      await prometheus?.close();
      await gateway?.close();
    });

    it.each(dashboardExpressions())("$where: $text", async (expression) => {
      const { result } = await prometheus.query(filled(expression));
      if (absentHere(expression.text)) return;
      expect(result.length).toBeGreaterThan(0);
      // Not all: a request that no engine could be found for has an empty engine, which Prometheus takes for none.
      const whole = result.filter(({ metric }) => expression.legendLabels.every((label) => label in metric));
      expect(whole.length).toBeGreaterThan(0);
    });

    it.each(rules("recording.yaml"))("recording rule $name", async ({ name, text }) => {
      if (absentHere(text)) return;
      await eventually(async () => (await prometheus.query(name)).result.length > 0);
      expect((await prometheus.query(name)).result.length).toBeGreaterThan(0);
    });

    it("exposes nothing that promtool complains about", async () => {
      const input = await (await fetch(`${gateway.url}/metrics`)).text();
      expect(execFileSync("promtool", ["check", "metrics"], { input, encoding: "utf8" })).toBe("");
    });

    it("sends exactly one engine all traffic after a switch", async () => {
      const { result } = await prometheus.query("crosscheck_traffic_share_ratio == 1");
      expect(result.map(({ metric }) => metric["engine"])).toEqual(["onnxruntime-2"]);
      expect((await prometheus.query("sum(crosscheck_active_engine)")).result[0]?.value[1]).toBe("1");
    });
  },
);

/** Waits until the condition holds, at most so many seconds; the assertion that follows says what is missing. */
async function eventually(condition: () => Promise<boolean>, seconds = 40): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end && !(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
