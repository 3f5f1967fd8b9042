import { expect, test, vi } from "vitest";
import { createAuditor } from "../../src/audit/auditor.ts";
import { compareOutputs } from "../../src/compare/compare.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import type { Engine } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import type { Model } from "../../src/models/model.ts";
import { freshEvidence } from "./traffic.ts";

const engineOf = (id: string) => ({ id, manifest: { artifact: { sha256: id } } }) as unknown as Engine;

function scene(settings: object = {}) {
  const [reference, candidate] = [engineOf("a"), engineOf("b")];
  const config = modelSchema.parse({ name: "m", ...settings });
  const model = { name: "m", config, reference, active: reference } as unknown as Model;
  const evidence = freshEvidence();
  const warn = vi.fn();
  const compare = vi.fn(
    async (
      outputs: readonly (readonly Tensor[])[],
      pairs: readonly (readonly [number, number])[],
      options: Parameters<typeof compareOutputs>[2],
      _givenUp?: ReadonlySet<number>,
    ) => pairs.map(([a, b]) => compareOutputs(outputs[a] ?? [], outputs[b] ?? [], options)),
  );
  const auditor = createAuditor({
    comparer: { compare, pending: 0, close: async () => {} },
    keeper: {
      of: () => evidence,
      restart() {},
      forget() {},
      restore: async () => {},
      close: async () => {},
    },
    metrics: createMetrics({ clock: systemClock }),
    deviceState: () => "ok",
    roleOf: () => "candidate",
    clock: systemClock,
    log: { ...silentLog, warn },
  });
  const run = (engine: Engine, outputs: readonly Tensor[]) => ({
    engine,
    outputs,
    engineSeconds: 1e-3,
    overlapped: false,
    error: undefined,
  });
  return { model, reference, candidate, evidence, warn, compare, auditor, run };
}

const f32 = (name: string, values: readonly number[]): Tensor => ({
  name,
  datatype: "FP32",
  shape: [1, values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
});

test("decisions that cannot be read are no flips and no pass, and the log says once what to set", async () => {
  const { model, reference, candidate, evidence, warn, auditor, run } = scene({ task: "detection" });
  for (let request = 0; request < 3; request += 1) {
    const runs = [run(reference, [f32("confidence", [1, 2])]), run(candidate, [f32("confidence", [1, 3])])];
    await auditor.shadowed(model, runs, { id: "r", engine: reference, outputs: [f32("confidence", [1, 2])] });
  }
  expect(evidence.counts).toMatchObject({ comparisons: 3, diverged: 3, flips: 0 });
  expect(evidence.snapshot().choices.comparison).toEqual({ flip: null, outside: true });
  expect(warn).toHaveBeenCalledTimes(1);
  expect(warn.mock.calls[0]?.[0]).toMatchObject({
    model: "m",
    reason:
      'there is no output "scores", the outputs are "confidence" [1,2]: set detection.scores in model.yaml',
  });
  auditor.forget("m");
  await auditor.shadowed(model, [run(reference, [f32("y", [1])]), run(candidate, [f32("y", [1])])], {
    id: "r",
    engine: reference,
    outputs: [],
  });
  expect(warn).toHaveBeenCalledTimes(2);
});

test("runs are given up and sent once, the client's reply is neither", async () => {
  const { model, reference, candidate, compare, auditor, run } = scene();
  const outputs = () => [f32("y", [1]), f32("z", [2])];
  const shadowed = (asked: readonly Tensor[]) =>
    auditor.shadowed(model, [run(reference, outputs()), run(candidate, outputs())], {
      id: "r",
      engine: reference,
      outputs: asked,
    });
  await shadowed(outputs());
  const [all, pairs, , givenUp] = compare.mock.calls[0] ?? [];
  expect([all?.length, pairs, givenUp]).toEqual([
    3,
    [
      [0, 1],
      [2, 0],
    ],
    new Set([0, 1]),
  ]);
  await shadowed([f32("z", [2])]);
  const [some, others, , given] = compare.mock.calls[1] ?? [];
  expect([some?.[3]?.map(({ name }) => name), others?.[1], given]).toEqual([
    ["z"],
    [2, 3],
    new Set([0, 1, 3]),
  ]);
  expect(auditor.noise(reference)?.result()).toMatchObject([
    { output: "y", runs: 1 },
    { output: "z", runs: 2, bitEqualRatio: 1 },
  ]);
});
