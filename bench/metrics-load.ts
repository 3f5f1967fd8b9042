import type { Metrics } from "../src/metrics/metrics.ts";

/** Fills every per-engine metric as a busy gateway would; `runs` engine times per engine and role. */
export function fillGateway(
  metrics: Metrics,
  { models, engines, runs }: { readonly models: number; readonly engines: number; readonly runs: number },
): void {
  const names = ["onnxruntime", "autotvm", "autoscheduler", "tensorrt-fp16"];
  for (let m = 0; m < models; m += 1) {
    const model = `model-${m}`;
    metrics.set("queue_length", { model }, m);
    metrics.observe("queue_duration_seconds", { model }, 0.001);
    for (const reason of ["sampled_out", "queue_full", "busy", "stale"])
      metrics.inc("shadow_dropped_total", { model, reason });
    for (let e = 0; e < engines; e += 1) {
      const engine = `${names[e % names.length]}-${e}`;
      const labels = { model, engine };
      for (const role of ["active", "shadow", "control"] as const) {
        const latency = metrics.latency({ ...labels, role });
        for (let run = 0; run < runs; run += 1) latency.record(0.0005 * (e + 1) * (1 + Math.random()));
        metrics.inc("shadow_runs_total", { ...labels, role });
      }
      for (const code of [200, 400, 504]) {
        metrics.inc("requests_total", { ...labels, code });
        metrics.observe("request_duration_seconds", { ...labels, code }, 0.001);
      }
      metrics.inc("deadline_misses_total", labels);
      metrics.set("traffic_share_ratio", labels, 0);
      metrics.set("active_engine", labels, e === 0 ? 1 : 0);
      for (const state of ["loading", "standby", "observing", "active"])
        metrics.set("engine_state", { ...labels, state }, 0);
      metrics.observe("cold_start_seconds", labels, 1);
      metrics.set("host_resident_bytes", { ...labels, instance: 0 }, 1e8);
      metrics.inc("host_restarts_total", { ...labels, reason: "exited" });
      metrics.inc("failovers_total", { ...labels, reason: "exited" });
      metrics.set(
        "engine_info",
        {
          ...labels,
          compiler: "autotvm",
          compiler_version: "0.14.0",
          precision: "fp32",
          build: e,
          artifact_sha256: "0".repeat(64),
        },
        1,
      );
      for (const metric of ["max_abs", "ulp"])
        metrics.set("noise_floor", { ...labels, output: "scores", metric }, 0);
      if (e > 0) fillPair(metrics, model, engine);
    }
  }
}

function fillPair(metrics: Metrics, model: string, candidate: string): void {
  const pair = { model, reference: "onnxruntime-0", candidate };
  for (const result of ["bit_equal", "within", "diverged", "invalid"])
    metrics.inc("comparisons_total", { ...pair, result });
  metrics.inc("flips_total", pair);
  for (const metric of ["max_abs", "max_rel", "ulp", "cosine", "kl"]) {
    for (const percentile of [50, 99, 100]) {
      metrics.set("divergence", { ...pair, output: "scores", metric, percentile }, Math.random());
    }
  }
  for (const rule of [
    "deadlineMissRatio",
    "latencyP99Ratio",
    "jitterRatio",
    "pairedSlowdown",
    "flipRatio",
    "divergence",
    "errorRatio",
    "deviceHealth",
  ]) {
    const labels = { model, candidate, rule };
    metrics.set("verdict", labels, 0);
    for (const kind of ["have", "need"]) metrics.set("evidence_samples", { ...labels, kind }, 100);
  }
}
