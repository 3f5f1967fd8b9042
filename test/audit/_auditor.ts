import { createAuditor, type AuditedRun } from "../../src/audit/auditor.ts";
import { createEvidenceKeeper } from "../../src/audit/evidence-keeper.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import type { Comparer } from "../../src/compare/comparer.ts";
import type { Clock } from "../../src/core/clock.ts";
import { type Log, silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";
import type { Engine } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";

export function engineOf(id: string, sha256 = `sha-${id}`): Engine {
  const manifest = { model: "m", compiler: { name: "x" }, artifact: { sha256 } };
  return { id, manifest, quarantined: false } as unknown as Engine;
}

export function modelOf(engines: readonly Engine[], settings: object = {}): Model {
  const config = modelSchema.parse({ name: "m", policy: { blockMs: 1 }, ...settings });
  const model = new Model({
    name: "m",
    directory: "/nowhere",
    config,
    engines: new Map(engines.map((engine) => [engine.id, engine])),
    broken: new Map(),
  });
  model.state = "ready";
  return model;
}

export function tensor(...values: number[]): Tensor {
  const data = new Uint8Array(Float32Array.from(values).buffer);
  return { name: "y", datatype: "FP32", shape: [1, values.length], data };
}

export function run(engine: Engine, role: AuditedRun["role"], change: Partial<AuditedRun> = {}): AuditedRun {
  const common = { engineSeconds: 1e-3, overlapped: false, error: undefined };
  return { engine, role, outputs: [tensor(1, 2)], ...common, ...change };
}

/** An auditor that compares in this thread, by a clock that the test turns. */
export function openAuditor({
  log = silentLog,
  ...change
}: { compare?: Comparer["compare"]; log?: Log } = {}) {
  const time = { seconds: 1000 };
  const clock: Clock = { seconds: () => time.seconds, now: () => new Date(time.seconds * 1000) };
  const metrics = createMetrics({ clock });
  const keeper = createEvidenceKeeper({
    store: { read: async () => undefined, write: async () => {} },
    keyPrefix: "",
    seed: () => 1,
    log: silentLog,
  });
  const auditor = createAuditor({
    comparer: {
      compare: async (outputs, pairs, options) =>
        pairs.map(([a, b]) => compareOutputs(outputs[a] ?? [], outputs[b] ?? [], options)),
      close: async () => {},
      ...change,
    },
    keeper,
    metrics,
    deviceState: () => "ok",
    roleOf: (model, engine) => (engine === model.active ? "active" : "candidate"),
    clock,
    log,
  });
  /** Lines of one metric. */
  const exposed = async (name: string) =>
    (await createMetricsService({ metrics }).scrape(undefined).text())
      .split("\n")
      .filter((line) => line.startsWith(`crosscheck_${name}{`));
  return { auditor, metrics, keeper, time, exposed };
}
