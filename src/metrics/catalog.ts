/**
 * Every metric of the gateway as data: recorder, exposition, dashboards, alert rules and docs/metrics.md read it.
 * Names go out with the prefix `crosscheck_`. HELP says window, unit, and where the timed stretch starts and stops.
 */
export const catalog = {
  request_duration_seconds: {
    kind: "histogram",
    labels: ["model", "engine", "code"],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    help: "Seconds from the receipt of a client's infer request (headers parsed) to its reply handed to the socket, since the gateway started. Shadow and control runs are not in it.",
  },
  inference_duration_seconds: {
    kind: "histogram",
    labels: ["model", "engine", "role"],
    buckets: [
      0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
    ],
    help: "Engine time in seconds, from the runtime's run call to its return as the host measured it, copies to and from the device included, since the gateway started. role: active answers clients, shadow is a candidate, control is the active engine once more in the shadow.",
  },
  latency_percentile_seconds: {
    kind: "gauge",
    labels: ["model", "engine", "role", "percentile"],
    help: "Percentile (50 to 100) of engine time in seconds over the last 5 minutes, sliding in 10 s slots, from an HDR histogram of 3 digits (0.1 us to 200 s, longer ones count as 200 s); computed at the scrape, at most 2 s old. Timed as inference_duration_seconds. Absent when nothing ran in the window.",
  },
  jitter_seconds: {
    kind: "gauge",
    labels: ["model", "engine", "role", "kind"],
    help: "Jitter of engine time in seconds over the same 5 minutes: pdv is the 99th percentile of x_i - min x, ipdv the 99th percentile of |x_i - x_(i-1)| between consecutive runs (2 digits), iqr the 75th minus the 25th percentile. The kinds measure different things and are never mixed.",
  },
  requests_total: {
    kind: "counter",
    labels: ["model", "engine", "code"],
    help: "Infer requests of clients answered, by HTTP status code; pinned ones count, shadow and control runs do not. engine is the one that answered or failed, empty when none was chosen. Since the gateway started.",
  },
  deadline_misses_total: {
    kind: "counter",
    labels: ["model", "engine"],
    help: "Clients' requests without a right answer within the model's deadlineMs after receipt (counted, not enforced): the reply came later, or was a server error. engine is the one that answered or failed; a request that another engine took over and answered in time is no miss here, but one in the evidence on the engine that was lost. Since the gateway started.",
  },
  queue_length: {
    kind: "gauge",
    labels: ["model"],
    help: "Clients' requests waiting for a free slot of an engine instance at this moment.",
  },
  queue_duration_seconds: {
    kind: "histogram",
    labels: ["model"],
    buckets: [0.00001, 0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    help: "Seconds a client's request waited, from being queued to being given to an engine instance, since the gateway started.",
  },
  cold_start_seconds: {
    kind: "histogram",
    labels: ["model", "engine"],
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    help: "Seconds from the decision to load an engine to its first answer (process start, artifact load and the first warm-up run), since the gateway started.",
  },
  traffic_share_ratio: {
    kind: "gauge",
    labels: ["model", "engine"],
    help: "Share (0 to 1) of a model's live traffic that the switching policy sends to this engine at this moment; pinned requests are outside it.",
  },
  active_engine: {
    kind: "gauge",
    labels: ["model", "engine"],
    help: "1 for the engine that answers the model's clients at this moment, 0 for its others.",
  },
  engine_state: {
    kind: "gauge",
    labels: ["model", "engine", "state"],
    help: "1 for the state the engine is in at this moment, 0 for the states it has been in before.",
  },
  engine_info: {
    kind: "gauge",
    labels: ["model", "engine", "compiler", "compiler_version", "precision", "build", "artifact_sha256"],
    help: "Always 1; the labels say where the engine comes from (its manifest, engine.yaml).",
  },
  shadow_runs_total: {
    kind: "counter",
    labels: ["model", "engine", "role"],
    help: "Completed runs beside the live traffic: role shadow for candidates, control for the active engine once more. Since the gateway started.",
  },
  shadow_dropped_total: {
    kind: "counter",
    labels: ["model", "reason"],
    help: "Served inputs that were not run in the shadow, or not by all engines, by reason: sampled_out was not chosen; paced came when as many as tell anything had been taken (one request in nine, or 150 a second where that is more; 20 a second with an engine on a GPU without MPS); queue_full found no place (or no memory) to wait; stale waited too long, or its model was unloaded meanwhile; busy met no idle moment; engines_away had fewer than two engines that could run; no_reference had runs but no answer of the reference to compare them with; failed was run, but what came of it was lost. Since the gateway started.",
  },
  comparisons_total: {
    kind: "counter",
    labels: ["model", "reference", "candidate", "result"],
    help: "Output comparisons of candidate and reference on the same input: bit_equal, within the tolerance, diverged, or invalid (wrong shape or type, NaN, infinity, no answer where the reference gave one). Since the gateway started.",
  },
  divergence: {
    kind: "gauge",
    labels: ["model", "reference", "candidate", "output", "metric", "percentile"],
    help: "Percentile over the comparisons of the last 5 minutes (in slots of 60 s) of how far the candidate's output is from the reference's on the same input: max_abs in the output's own unit, max_rel a ratio, ulp a count of representable values, cosine a similarity (1 is equal; its low percentiles are the bad ones), kl in nats.",
  },
  flips_total: {
    kind: "counter",
    labels: ["model", "reference", "candidate"],
    help: "Comparisons in which the decision changed: another top-1 class, other detections, other pixels, as the model's task says. Since the gateway started.",
  },
  noise_floor: {
    kind: "gauge",
    labels: ["model", "engine", "output", "metric"],
    help: "Largest difference of the engine from itself on the same input (control runs and self-checks) since the gateway started, in the unit of the metric as in divergence; 0 means it repeats itself bit by bit.",
  },
  verdict: {
    kind: "gauge",
    labels: ["model", "candidate", "rule"],
    help: "Newest verdict of the rule on the candidate, from all evidence of this pair of artifacts: 1 pass, 0 inconclusive, -1 fail.",
  },
  evidence_samples: {
    kind: "gauge",
    labels: ["model", "candidate", "rule", "kind"],
    help: "Samples behind the rule's newest verdict: have is what there is, need the projected total for a decision (equal to have once decided).",
  },
  switches_total: {
    kind: "counter",
    labels: ["model", "from", "to", "trigger"],
    help: "Changes of the active engine, by what asked for it (for example policy, manual, rollback, failover). Since the gateway started.",
  },
  host_restarts_total: {
    kind: "counter",
    labels: ["model", "engine", "reason"],
    help: "Engine host processes started again after they died, hung or broke the protocol, by reason. Since the gateway started.",
  },
  failovers_total: {
    kind: "counter",
    labels: ["model", "engine", "reason"],
    help: "Requests moved once to another instance or engine because this engine's host was lost under them; the client saw a normal reply. Since the gateway started.",
  },
  gpu_utilization_ratio: {
    kind: "gauge",
    labels: ["device", "uuid"],
    help: "Share (0 to 1) of the driver's last sample period (NVML: 1/6 s to 1 s; Jetson GR3D: the reading interval) in which the GPU was executing a kernel.",
  },
  gpu_memory_used_bytes: {
    kind: "gauge",
    labels: ["device", "uuid"],
    help: "Bytes of device memory in use by all processes at the last reading (Jetson: of the RAM that CPU and GPU share).",
  },
  gpu_memory_total_bytes: {
    kind: "gauge",
    labels: ["device", "uuid"],
    help: "Bytes of device memory installed (Jetson: RAM shared by CPU and GPU).",
  },
  gpu_power_watts: {
    kind: "gauge",
    labels: ["device", "uuid"],
    help: "Power draw in watts as the driver averages it (NVML: the whole board, over up to 1 s; Jetson: the rail that feeds the GPU, at the reading).",
  },
  gpu_temperature_celsius: {
    kind: "gauge",
    labels: ["device", "uuid"],
    help: "GPU core temperature in degrees Celsius at the last reading.",
  },
  gpu_energy_joules_total: {
    kind: "counter",
    labels: ["device", "uuid"],
    help: "Joules drawn since the gateway started (NVML: the board's own energy counter; Jetson: the GPU rail's power integrated over the readings).",
  },
  gpu_info: {
    kind: "gauge",
    labels: ["device", "uuid", "name", "driver", "power_mode", "source"],
    help: "Always 1; the labels name the device, its driver or L4T release, its power mode and where readings come from (nvml or tegra).",
  },
  gpu_clock_hertz: {
    kind: "gauge",
    labels: ["device", "uuid", "domain"],
    help: "Clock in hertz at the last reading; domain is graphics, sm, memory or video (Jetson: graphics and memory).",
  },
  gpu_throttled: {
    kind: "gauge",
    labels: ["device", "uuid", "reason"],
    help: "1 while the driver held the clocks down for this reason at the last reading, else 0; a reason appears once it was seen or is known to the source.",
  },
  event_loop_delay_seconds: {
    kind: "gauge",
    labels: ["percentile"],
    help: "Percentile of how much later than due the gateway's event loop ran a timer, in seconds, over the last full 10 s.",
  },
  host_resident_bytes: {
    kind: "gauge",
    labels: ["model", "engine", "instance"],
    help: "Resident memory of the engine's host process in bytes at the last reading, shared pages included.",
  },
  build_info: {
    kind: "gauge",
    labels: ["version", "node"],
    help: "Always 1; the labels give the gateway's version and that of Node.",
  },
} as const satisfies Record<string, MetricDefinition>;

export interface MetricDefinition {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  /** Upper bounds in seconds, ascending, `+Inf` left out; histograms only. */
  readonly buckets?: readonly number[];
  readonly help: string;
}

/** Goes before every name in the exposition; inside the gateway names are written without it. */
export const metricPrefix = "crosscheck_";

/** The percentiles of latency_percentile_seconds; 100 is the largest value of the window. */
export const latencyPercentiles = [50, 90, 95, 99, 99.9, 100] as const;

export type MetricName = keyof typeof catalog;
export type MetricOfKind<K extends MetricDefinition["kind"]> = {
  [N in MetricName]: (typeof catalog)[N]["kind"] extends K ? N : never;
}[MetricName];
/** Exactly the metric's labels; a label without a value is an empty string. */
export type MetricLabels<N extends MetricName> = Readonly<
  Record<(typeof catalog)[N]["labels"][number], string | number>
>;
/** What an inference was for. */
export type InferenceRole = "active" | "shadow" | "control";
