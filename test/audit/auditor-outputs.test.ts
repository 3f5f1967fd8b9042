import { expect, test, vi } from "vitest";
import { compareOutputs } from "../../src/compare/compare.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import type { Engine } from "../../src/models/engine.ts";
import { engineOf, modelOf, openAuditor, run as runOf } from "./_auditor.ts";

function scene(settings: object = {}) {
  const [reference, candidate] = [engineOf("a"), engineOf("b")];
  const model = modelOf([reference, candidate], { reference: "a", ...settings });
  model.activate(reference);
  const warn = vi.fn();
  const compare = vi.fn(
    async (
      outputs: readonly (readonly Tensor[])[],
      pairs: readonly (readonly [number, number])[],
      options: Parameters<typeof compareOutputs>[2],
      _givenUp?: ReadonlySet<number>,
    ) => pairs.map(([a, b]) => compareOutputs(outputs[a] ?? [], outputs[b] ?? [], options)),
  );
  const { auditor } = openAuditor({ compare, log: { ...silentLog, warn } });
  const run = (engine: Engine, outputs: readonly Tensor[]) =>
    runOf(engine, engine === reference ? "control" : "shadow", { outputs });
  return { model, reference, candidate, warn, compare, auditor, run };
}

const f32 = (name: string, values: readonly number[]): Tensor => ({
  name,
  datatype: "FP32",
  shape: [1, values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
});

test("decisions that cannot be read are no flips and no pass, and the log says once what to set", async () => {
  const { model, reference, candidate, warn, auditor, run } = scene({ task: "detection" });
  for (let request = 0; request < 3; request += 1) {
    const runs = [run(reference, [f32("confidence", [1, 2])]), run(candidate, [f32("confidence", [1, 3])])];
    await auditor.shadowed(model, runs, { id: "r", engine: reference, outputs: [f32("confidence", [1, 2])] });
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
