import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createInlineRunner } from "../../src/hosting/inline-runner.ts";
import { identityModel } from "../engines/_onnx.ts";
import { temporaryFolder, tensor } from "./_pool.ts";

const program = path.resolve(import.meta.dirname, "../../engines/onnxruntime/engine.ts");

function inline(model: Buffer, sha256 = createHash("sha256").update(model).digest("hex")) {
  const directory = temporaryFolder();
  const file = path.join(directory, "model.onnx");
  fs.writeFileSync(file, model);
  const runner = createInlineRunner({
    label: { model: "m", engine: "e" },
    program,
    artifact: { path: file, sha256 },
    manifest: {},
    directory,
    threads: 1,
    clock: systemClock,
  });
  onTestFinished(() => runner.close());
  return runner;
}

const model = identityModel([
  { name: "x", type: "FP32", shape: ["n", 2] },
  { name: "y", type: "INT64", shape: [3] },
]);

test("answers in this process as a host would, many at once, with shapes that change", async () => {
  const runner = inline(model);
  const info = await runner.start();
  expect(info.inputs).toEqual([
    { name: "x", datatype: "FP32", shape: [-1, 2] },
    { name: "y", datatype: "INT64", shape: [3] },
  ]);
  await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const inputs = [tensor("y", "INT64", [3], index), tensor("x", "FP32", [index * 400, 2], index)];
      const { outputs, engineSeconds, hostSeconds } = await runner.infer({ inputs });
      expect(outputs.map(({ name, shape }) => [name, shape])).toEqual([
        ["x-out", [index * 400, 2]],
        ["y-out", [3]],
      ]);
      for (const [output, input] of [
        [0, 1],
        [1, 0],
      ] as const) {
        expect(Buffer.compare(outputs[output]?.data as Uint8Array, inputs[input]?.data as Uint8Array)).toBe(
          0,
        );
      }
      expect(engineSeconds).toBeGreaterThan(0);
      expect(hostSeconds).toBeGreaterThanOrEqual(engineSeconds);
    }),
  );
  const some = await runner.infer({
    inputs: [tensor("x", "FP32", [1, 2]), tensor("y", "INT64", [3])],
    outputs: ["y-out"],
  });
  expect(some.outputs.map(({ name }) => name)).toEqual(["y-out"]);
});

test("refuses what does not fit, and everything once it is closed", async () => {
  const runner = inline(model);
  expect(runner.healthy).toBe(0);
  await runner.start();
  expect(runner.healthy).toBe(1);
  await expect(runner.infer({ inputs: [] })).rejects.toMatchObject({ code: "invalid" });
  const inputs = [tensor("x", "FP32", [1, 2]), tensor("y", "INT64", [3])];
  const last = runner.infer({ inputs });
  await runner.close();
  expect((await last).outputs).toHaveLength(2);
  expect(runner.healthy).toBe(0);
  await expect(runner.infer({ inputs })).rejects.toMatchObject({ reason: "unavailable" });
});

test("does not load what its digest does not match, nor what is no model", async () => {
  await expect(inline(model, "0".repeat(64)).start()).rejects.toThrow(/its manifest says/);
  await expect(inline(Buffer.from("no model")).start()).rejects.toThrow(/onnxruntime cannot load it/);
});
