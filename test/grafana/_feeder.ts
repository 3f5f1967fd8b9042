import type { Metrics } from "../../src/metrics/metrics.ts";
import { seededRandom } from "../metrics/_helpers.ts";

/** Makes up a gateway's life, a step a call: two models, three engines each, every metric but the GPUs'. */
export function createFeeder(metrics: Metrics): { step(): void } {
  const random = seededRandom(3);
  let active = 0;
  let steps = 0;

  function model(name: string): void {
    const engines = ["onnxruntime-1", "autotvm-1", "tensorrt-fp16-1"];
    const serving = engines[active % 2] as string;
    for (const engine of engines) {
      const labels = { model: name, engine };
      metrics.set("active_engine", labels, engine === serving ? 1 : 0);
      metrics.set("traffic_share_ratio", labels, engine === serving ? 0.95 : 0.025);
      metrics.set("engine_state", { ...labels, state: "active" }, engine === serving ? 1 : 0);
      metrics.set("engine_state", { ...labels, state: "observing" }, engine === serving ? 0 : 1);
      metrics.set("engine_state", { ...labels, state: "failed" }, 0);
      metrics.set("host_resident_bytes", { ...labels, instance: 0 }, 1e8 + random() * 1e6);
      metrics.inc("host_restarts_total", { ...labels, reason: "exited" }, steps % 20 === 0 ? 1 : 0);
      metrics.inc("failovers_total", { ...labels, reason: "hung" }, steps % 20 === 0 ? 1 : 0);
      metrics.observe("cold_start_seconds", labels, 0.2 + random());
      metrics.set("engine_info", info(labels), 1);
      const role = engine === serving ? "control" : "shadow";
      metrics.inc("shadow_runs_total", { ...labels, role });
      metrics.latency({ ...labels, role }).record(0.001 + random() / 100);
      for (const metric of ["max_abs", "ulp"]) {
        metrics.set("noise_floor", { ...labels, output: "scores", metric }, random() * 1e-6);
      }
      if (engine !== "onnxruntime-1") candidate(name, engine);
    }
    const labels = { model: name, engine: serving };
    for (let n = 0; n < 20; n += 1) {
      const seconds = 0.001 + random() / 200;
      const code = random() < 0.02 ? 500 : 200;
      metrics.latency({ ...labels, role: "active" }).record(seconds);
      metrics.inc("requests_total", { ...labels, code });
      metrics.observe("request_duration_seconds", { ...labels, code }, seconds * 2, {
        request_id: `r-${steps}-${n}`,
      });
      metrics.observe("queue_duration_seconds", { model: name }, seconds / 10);
      metrics.inc("deadline_misses_total", labels, random() < 0.1 ? 1 : 0);
    }
    metrics.set("queue_length", { model: name }, Math.floor(random() * 5));
    metrics.inc("shadow_dropped_total", { model: name, reason: "queue_full" });
    metrics.inc(
      "switches_total",
      { model: name, from: "onnxruntime-1", to: "autotvm-1", trigger: "manual" },
      switched() ? 1 : 0,
    );
  }

  function candidate(name: string, engine: string): void {
    const pair = { model: name, reference: "onnxruntime-1", candidate: engine };
    for (const result of ["bit_equal", "within", "diverged", "invalid"]) {
      metrics.inc("comparisons_total", { ...pair, result });
    }
    metrics.inc("flips_total", pair, random() < 0.1 ? 1 : 0);
    for (const metric of ["max_abs", "max_rel", "ulp", "cosine", "kl"]) {
      for (const percentile of [50, 99, 100]) {
        metrics.set("divergence", { ...pair, output: "scores", metric, percentile }, random());
      }
    }
    for (const rule of ["latencyP99Ratio", "flipRatio"]) {
      const labels = { model: name, candidate: engine, rule };
      metrics.set("verdict", labels, rule === "flipRatio" ? -1 : 0);
      metrics.set("evidence_samples", { ...labels, kind: "have" }, steps);
      metrics.set("evidence_samples", { ...labels, kind: "need" }, 500);
    }
  }

  const switched = (): boolean => steps % 10 === 9;
  return {
    step() {
      if (switched()) active += 1;
      for (const name of ["face", "traffic-signs"]) model(name);
      for (const percentile of [50, 99, 100])
        metrics.set("event_loop_delay_seconds", { percentile }, random() / 100);
      metrics.set("build_info", { version: "0.0.0-test", node: process.version }, 1);
      steps += 1;
    },
  };
}

function info(labels: { model: string; engine: string }) {
  return {
    ...labels,
    compiler: labels.engine.split("-")[0] ?? "",
    compiler_version: "1.0",
    precision: "fp32",
    build: 1,
    artifact_sha256: "0".repeat(64),
  };
}
