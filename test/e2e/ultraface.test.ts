import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { control, infer, openWorkplace, python, root, serve, type Server, type Workplace } from "./_serve.ts";

/**
 * Face detectors with trained weights, old exports (their initializers are listed as inputs), on photographs. TVM's
 * engines of them take minutes to build, so they are not built here.
 */
const data = join(root, "../shared/data/ultraface");
const models = ["slim-320", "rfb-320"] as const;
const why = !existsSync(data)
  ? "the face detectors of ../shared are absent"
  : existsSync(python)
    ? undefined
    : "test/.venv is missing; npm test makes it";

interface Expected {
  readonly images: number;
  readonly shapes: Readonly<Record<string, number[]>>;
}

describe.skipIf(why !== undefined)(`ultraface${why === undefined ? "" : ` (skipped: ${why})`}`, () => {
  let place: Workplace;
  let server: Server | undefined;
  beforeAll(async () => {
    place = await openWorkplace();
    for (const name of models) {
      await place.writeModel(name, {
        task: "detection",
        detection: {
          scores: "scores",
          boxes: "boxes",
          format: "corners",
          background: 0,
          scoreThreshold: 0.7,
          nmsIou: 0.3,
          matchIou: 0.5,
        },
        preprocess: { size: [240, 320], color: "rgb", mean: 127, scale: 0.0078125, layout: "nchw" },
      });
      await place.compile(join(data, `${name}.onnx`), name, "--compiler", "onnxruntime");
    }
    server = await serve(place);
  }, 180_000);
  afterAll(async () => {
    const code = await server?.stop();
    await place.remove();
    expect(code).toBe(0);
  });

  it.each(models)("%s: one input, and on every photograph what onnxruntime itself answers", async (name) => {
    if (!server) throw new Error("the server was not started");
    const { url } = server;
    const metadata = await control<{ inputs: object[]; outputs: object[] }>(url, `/v2/models/${name}`);
    expect(metadata.inputs).toEqual([{ name: "input", datatype: "FP32", shape: [1, 3, 240, 320] }]);
    expect(metadata.outputs).toEqual([
      { name: "scores", datatype: "FP32", shape: [1, 4420, 2] },
      { name: "boxes", datatype: "FP32", shape: [1, 4420, 4] },
    ]);

    const folder = join(place.folder, `expected-${name}`);
    await mkdir(folder);
    const script = join(root, "test/e2e/ultraface_expected.py");
    const args = [script, join(data, `${name}.onnx`), join(data, "images"), folder];
    const { images, shapes } = JSON.parse((await promisify(execFile)(python, args)).stdout) as Expected;
    expect(images).toBeGreaterThan(5);
    const read = async (number: number, tensor: string): Promise<Float32Array> =>
      new Float32Array(new Uint8Array(await readFile(join(folder, `${number}.${tensor}.f32`))).buffer);
    let faces = 0;
    for (let number = 0; number < images; number++) {
      const input = { name: "input", shape: shapes["input"] ?? [], values: await read(number, "input") };
      const { status, engine, outputs } = await infer(url, name, [input]);
      expect([status, engine]).toEqual([200, "onnxruntime-1"]);
      expect(outputs.map((output) => [output.name, output.shape])).toEqual([
        ["scores", shapes["scores"]],
        ["boxes", shapes["boxes"]],
      ]);
      for (const output of outputs) {
        const expected = await read(number, output.name);
        expect(largestDifference(output.values, expected)).toBeLessThanOrEqual(1e-5);
        if (output.name === "scores")
          faces += expected.filter((score, at) => at % 2 === 1 && score > 0.7).length;
      }
    }
    // Equal answers that show nothing would prove nothing.
    expect(faces).toBeGreaterThan(images);
  });
});

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (const [at, value] of a.entries()) largest = Math.max(largest, Math.abs(value - (b[at] as number)));
  return largest;
}
