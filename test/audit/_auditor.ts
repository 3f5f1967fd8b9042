import { createAuditor, type AuditedRun, type Auditor } from "../../src/audit/auditor.ts";
import { createEvidenceKeeper } from "../../src/audit/evidence-keeper.ts";
import type { Clock } from "../../src/core/clock.ts";
import { type Log, silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { createMetricsService } from "../../src/metrics/service.ts";
import type { Engine } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import { compareRuns } from "../../src/shadow/compare-runs.ts";

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

/** A run as the shadow thread has it, with its outputs. */
export interface Run extends AuditedRun {
  readonly outputs: readonly Tensor[] | undefined;
}

export function run(engine: Engine, role: Run["role"], change: Partial<Run> = {}): Run {
  const common = { engineSeconds: 1e-3, overlapped: false, error: undefined };
  return { engine, role, outputs: [tensor(1, 2)], ...common, ...change };
}

/** Compares the runs as the shadow thread does, and hands the auditor what it would be handed. */
export function shadowed(
  auditor: Auditor,
  model: Model,
  runs: readonly Run[],
  reply: { readonly id: string; readonly engine: Engine; readonly outputs: readonly Tensor[] },
): void {
  const placeOf = (wanted: Engine | undefined) => {
    const place = runs.findIndex(({ engine }) => engine === wanted);
    return place === -1 ? undefined : place;
  };
  const engineAt = (place: number) => (runs[place] as Run).engine;
  const compared = compareRuns(
    runs.map(({ outputs }) => outputs),
    {
      base: placeOf(model.reference ?? model.active),
      replied: placeOf(reply.engine),
      reply: reply.outputs,
      options: auditor.compareOptions(model),
    },
  );
  auditor.ran(model, runs);
  for (const { reference, candidate, difference } of compared)
    auditor.compared(model, reply.id, {
      reference: engineAt(reference),
      candidate: engineAt(candidate),
      difference,
    });
}

/** An auditor by a clock that the test turns. */
export function openAuditor({ log = silentLog }: { log?: Log } = {}) {
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
