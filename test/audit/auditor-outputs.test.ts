import { expect, test, vi } from "vitest";
import { silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import type { Engine } from "../../src/models/engine.ts";
import { engineOf, modelOf, openAuditor, run as runOf, shadowed } from "./_auditor.ts";

function scene(settings: object = {}) {
  const [reference, candidate] = [engineOf("a"), engineOf("b")];
  const model = modelOf([reference, candidate], { reference: "a", ...settings });
  model.activate(reference);
  const warn = vi.fn();
  const { auditor } = openAuditor({ log: { ...silentLog, warn } });
  const run = (engine: Engine, outputs: readonly Tensor[]) =>
    runOf(engine, engine === reference ? "control" : "shadow", { outputs });
  return { model, reference, candidate, warn, auditor, run };
}

const f32 = (name: string, values: readonly number[]): Tensor => ({
  name,
  datatype: "FP32",
  shape: [1, values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
});

test("decisions that cannot be read are no flips and no pass, and the log says once what to set", () => {
  const { model, reference, candidate, warn, auditor, run } = scene({ task: "detection" });
  for (let request = 0; request < 3; request += 1) {
    const runs = [run(reference, [f32("confidence", [1, 2])]), run(candidate, [f32("confidence", [1, 3])])];
    shadowed(auditor, model, runs, { id: "r", engine: reference, outputs: [f32("confidence", [1, 2])] });
  }
  const evidence = auditor.evidence(model, candidate);
  expect(evidence.counts).toMatchObject({ comparisons: 3, diverged: 3, flips: 0 });
  expect(evidence.snapshot().choices.comparison).toEqual({ flip: null, outside: true });
  expect(warn).toHaveBeenCalledTimes(1);
  expect(warn.mock.calls[0]?.[0]).toMatchObject({
    model: "m",
    reason:
      'there is no output "scores", the outputs are "confidence" [1,2]: set detection.scores in model.yaml',
  });
  auditor.forget("m");
  shadowed(auditor, model, [run(reference, [f32("y", [1])]), run(candidate, [f32("y", [1])])], {
    id: "r",
    engine: reference,
    outputs: [],
  });
  expect(warn).toHaveBeenCalledTimes(2);
});

test("an engine's noise is of the outputs that the client asked for", () => {
  const { model, reference, candidate, auditor, run } = scene();
  const outputs = () => [f32("y", [1]), f32("z", [2])];
  for (const reply of [outputs(), [f32("z", [2])]])
    shadowed(auditor, model, [run(reference, outputs()), run(candidate, outputs())], {
      id: "r",
      engine: reference,
      outputs: reply,
    });
  expect(auditor.noise(reference)?.result()).toMatchObject([
    { output: "y", runs: 1 },
    { output: "z", runs: 2, bitEqualRatio: 1 },
  ]);
});

test("what the base cannot keep to itself, nobody is held to", () => {
  const { model, reference, candidate, auditor, run } = scene({ tolerance: { abs: 0.001, rel: 0 } });
  const limit = () => auditor.compareOptions(model).tolerance?.outputs?.y?.abs;
  expect(limit()).toBeUndefined();
  for (let request = 0; request < 100; request += 1)
    shadowed(auditor, model, [run(reference, [f32("y", [1])]), run(candidate, [f32("y", [1])])], {
      id: "r",
      engine: reference,
      outputs: [f32("y", [1.5])],
    });
  expect(limit()).toBeGreaterThan(1.4);
});
