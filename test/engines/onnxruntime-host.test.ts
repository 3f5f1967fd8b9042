import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { datatypes } from "../../src/core/tensor.ts";
import { hostEnv, tensor, temporaryFolder, testPool, tsx } from "../hosting/_pool.ts";
import { identityModel } from "./_onnx.ts";

const root = path.resolve(import.meta.dirname, "../..");
const faces = path.resolve(root, "../shared/data/ultraface/slim-320.onnx");
const signs = path.join(root, "models/traffic-signs/model.onnx");

function onnxruntimePool(model: string) {
  const sha256 = createHash("sha256").update(fs.readFileSync(model)).digest("hex");
  const command = [process.execPath, "--import", tsx, path.join(root, "engines/onnxruntime/host.ts")];
  return testPool(
    "typescript",
    {},
    {
      host: { command, workingDirectory: path.join(root, "engines/onnxruntime"), env: hostEnv() },
      artifact: { path: model, sha256 },
    },
  );
}

function written(model: Buffer): string {
  const file = path.join(temporaryFolder(), "model.onnx");
  fs.writeFileSync(file, model);
  return file;
}

async function direct(model: string, name: string, shape: number[], data: Uint8Array) {
  const session = await InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const floats = new Float32Array(data.slice().buffer);
  return session.run({ [name]: new OrtTensor("float32", floats, shape) });
}

function noise(elements: number): Uint8Array {
  const data = Float32Array.from({ length: elements }, (_, index) => Math.sin(index * 12.9898) / 2 + 0.5);
  return new Uint8Array(data.buffer);
}

describe("the onnxruntime host", () => {
  test.skipIf(!fs.existsSync(signs))(
    "answers bit for bit what onnxruntime does in this process",
    async () => {
      const { pool } = onnxruntimePool(signs);
      const { inputs } = await pool.start();
      const spec = inputs[0] as (typeof inputs)[0];
      const shape = spec.shape.map((dimension) => Math.max(1, dimension));
      const data = noise(shape.reduce((product, dimension) => product * dimension, 1));
      const { outputs } = await pool.infer({ inputs: [{ ...spec, shape, data }] });
      const expected = await direct(signs, spec.name, shape, data);
      for (const { name, data: bytes, shape: outShape } of outputs) {
        const wanted = expected[name] as OrtTensor;
        expect(outShape).toEqual(wanted.dims);
        expect(new Float32Array(bytes.slice().buffer)).toEqual(wanted.data);
      }
    },
  );

  // The photographs and models under shared/ are not part of the repository.
  test.skipIf(!fs.existsSync(faces))(
    "lists the real input alone, not the initializers, and both outputs",
    async () => {
      const { pool } = onnxruntimePool(faces);
      const info = await pool.start();
      expect(info.inputs).toEqual([{ name: "input", datatype: "FP32", shape: [1, 3, 240, 320] }]);
      expect(info.outputs.map(({ name, shape }) => [name, shape])).toEqual([
        ["scores", [1, 4420, 2]],
        ["boxes", [1, 4420, 4]],
      ]);
      const data = noise(3 * 240 * 320);
      const inputs = [{ name: "input", datatype: "FP32" as const, shape: [1, 3, 240, 320], data }];
      const { outputs } = await pool.infer({ inputs });
      const expected = await direct(faces, "input", [1, 3, 240, 320], data);
      for (const { name, data: bytes } of outputs) {
        expect(new Float32Array(bytes.slice().buffer)).toEqual(expected[name]?.data);
      }
      const boxes = await pool.infer({ inputs, outputs: ["boxes"] });
      expect(boxes.outputs.map(({ name }) => name)).toEqual(["boxes"]);
      expect(boxes.outputs[0]?.data).toEqual(outputs[1]?.data);
    },
  );

  test("carries every datatype that onnxruntime-node has, with static, dynamic, empty and scalar shapes", async () => {
    const types = datatypes.filter((datatype) => datatype !== "BF16");
    const model = identityModel(
      types.flatMap((type) => [
        { name: `${type}-dynamic`, type, shape: ["n", 3] },
        { name: `${type}-static`, type, shape: [2, 2] },
        { name: `${type}-scalar`, type, shape: [] },
      ]),
    );
    const { pool } = onnxruntimePool(written(model));
    const info = await pool.start();
    expect(info.inputs).toHaveLength(36);
    expect(info.inputs[0]).toEqual({ name: "BOOL-dynamic", datatype: "BOOL", shape: [-1, 3] });
    for (const n of [1, 0, 30_000, 2]) {
      const inputs = info.inputs.map(({ name, datatype, shape }) => {
        const made = tensor(
          name,
          datatype,
          shape.map((dimension) => (dimension < 0 ? n : dimension)),
          n,
        );
        // Other bytes than 0 and 1 are no booleans.
        return datatype === "BOOL" ? { ...made, data: made.data.map((byte) => byte % 2) } : made;
      });
      const { outputs } = await pool.infer({ inputs });
      for (const [index, output] of outputs.entries()) {
        expect(output.shape).toEqual(inputs[index]?.shape);
        expect(Buffer.compare(output.data, inputs[index]?.data as Uint8Array)).toBe(0);
      }
    }
  });

  test("says what is wrong with a file that is no model", async () => {
    const { pool } = onnxruntimePool(written(Buffer.from("no model")));
    await expect(pool.start()).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/onnxruntime cannot load it.*compile/s) as string,
    });
  });

  test("says so of a datatype that it cannot exchange", async () => {
    const { pool } = onnxruntimePool(written(identityModel([{ name: "x", type: "BF16", shape: [1] }])));
    await expect(pool.start()).rejects.toMatchObject({ code: "conflict" });
  });
});
