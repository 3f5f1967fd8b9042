import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../src/core/package-root.ts";
import { byteSize, type Datatype, type TensorSpec } from "../../src/core/tensor.ts";
import { parseYamlFile } from "../../src/core/yaml-file.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import type { NpyArray } from "../../src/models/npy.ts";
import { type Npz, readNpz } from "../../src/models/npz.ts";
import { fitSamples } from "../../src/models/samples.ts";

const bytes = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const floats = (data: Uint8Array): number[] => [...new Float32Array(data.slice().buffer)];

function npz(arrays: Record<string, NpyArray>): Npz {
  return {
    names: Object.keys(arrays),
    has: (name) => Object.hasOwn(arrays, name),
    get: (name) => arrays[name] as NpyArray,
  };
}

function array(datatype: Datatype, shape: number[], data?: Uint8Array): NpyArray {
  return { datatype, shape, data: data ?? new Uint8Array(byteSize(datatype, shape)) };
}

const image: TensorSpec = { name: "image", datatype: "FP32", shape: [1, 2, 1, 2] };
const preprocess = modelSchema.parse({
  name: "m",
  preprocess: { size: [1, 2], mean: [100, 0], scale: [0.5, 2] },
}).preprocess;

describe("fitSamples", () => {
  it("turns pixels into numbers, per channel, in both layouts", () => {
    const pixels = Uint8Array.from([100, 102, 1, 2, 200, 0, 3, 4]);
    const samples = fitSamples(
      npz({ image: array("UINT8", [2, 2, 1, 2], pixels) }),
      [image],
      preprocess,
      "s",
    );
    expect(samples.count).toBe(2);
    expect(samples.at(0)).toMatchObject([{ name: "image", datatype: "FP32", shape: [1, 2, 1, 2] }]);
    expect(floats(samples.at(0)[0]?.data as Uint8Array)).toEqual([0, 1, 2, 4]);
    expect(floats(samples.at(1)[0]?.data as Uint8Array)).toEqual([50, -50, 6, 8]);

    const last = { name: "image", datatype: "FP32" as const, shape: [-1, 1, 2, 2] };
    const nhwc = { ...preprocess, layout: "nhwc" as const } as typeof preprocess;
    const byPixel = fitSamples(npz({ image: array("UINT8", [2, 1, 2, 2], pixels) }), [last], nhwc, "s");
    expect(floats(byPixel.at(0)[0]?.data as Uint8Array)).toEqual([0, 204, -49.5, 4]);
  });

  it("passes arrays of the input's own type on, with and without a leading dimension", () => {
    const rows = Float32Array.from([1, 2, 3, 4]);
    const flat = fitSamples(
      npz({ x: array("FP32", [2, 2], bytes(rows)) }),
      [{ name: "x", datatype: "FP32", shape: [2] }],
      undefined,
      "s",
    );
    expect(flat.at(1)).toMatchObject([{ shape: [2] }]);
    expect(floats(flat.at(1)[0]?.data as Uint8Array)).toEqual([3, 4]);
    const batch = fitSamples(
      npz({ x: array("FP32", [2, 2], bytes(rows)) }),
      [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
      undefined,
      "s",
    );
    expect(batch.at(0)).toMatchObject([{ shape: [1, 2] }]);
    const doubles = Float64Array.from([1.5, 2.5]);
    const cast = fitSamples(
      npz({ x: array("FP64", [1, 2], bytes(doubles)) }),
      [{ name: "x", datatype: "FP32", shape: [1, 2] }],
      undefined,
      "s",
    );
    expect(floats(cast.at(0)[0]?.data as Uint8Array)).toEqual([1.5, 2.5]);
  });

  it("reads the demo model's labelled samples", async () => {
    const demo = join(packageRoot(), "models/traffic-signs");
    const config = await parseYamlFile(join(demo, "model.yaml"), modelSchema);
    for (const file of ["clean", "corrupted"]) {
      const path = join(demo, `samples/${file}.npz`);
      const archive = await readNpz(path);
      const [name = ""] = archive.names.filter((entry) => entry !== "labels");
      const spec = { name, datatype: "FP32" as const, shape: [-1, 3, 48, 48] };
      const samples = fitSamples(archive, [spec], config.preprocess, path);
      expect(samples.count).toBe(1000);
      expect(samples.labels).toHaveLength(1000);
      const values = floats(samples.at(999)[0]?.data as Uint8Array);
      expect(Math.max(...values)).toBeLessThanOrEqual(1);
      expect(Math.min(...values)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...values)).toBeGreaterThan(0.2);
    }
  });

  it.each([
    [
      { image: array("UINT8", [2, 3, 1, 2]) },
      'array "image" has shape [2, 3, 1, 2], first the samples; the model takes [1, 2, 1, 2]',
    ],
    [{ image: array("UINT8", [0, 2, 1, 2]) }, "holds no sample"],
    [{ image: array("UINT8", []) }, 'array "image" has shape []'],
    [{ image: array("FP32", [2, 2, 1, 2]), labels: array("INT64", [3]) }, "labels has shape [3], not [2]"],
  ])("refuses what does not fit %#", (arrays, message) => {
    expect(() => fitSamples(npz(arrays as Record<string, NpyArray>), [image], preprocess, "s")).toThrow(
      message,
    );
  });

  it("refuses numbers that it would have to guess at", () => {
    const ints = npz({ image: array("INT64", [1, 2, 1, 2]) });
    expect(() => fitSamples(ints, [image], preprocess, "s").at(0)).toThrow(
      "is INT64, the model takes FP32; convert it",
    );
    const pixels = npz({ image: array("UINT8", [1, 2, 1, 2]) });
    expect(() => fitSamples(pixels, [image], undefined, "s").at(0)).toThrow(
      "say in model.yaml how they become",
    );
    const three = modelSchema.parse({ name: "m", preprocess: { size: [1, 2], mean: [1, 2, 3] } }).preprocess;
    expect(() => fitSamples(pixels, [image], three, "s").at(0)).toThrow(
      "preprocess.mean of model.yaml has 3 values, the input 2 channels",
    );
    const both = npz({ image: array("FP32", [2, 2, 1, 2]), more: array("FP32", [3, 1]) });
    const more: TensorSpec = { name: "more", datatype: "FP32", shape: [1, 1] };
    expect(() => fitSamples(both, [image, more], undefined, "s")).toThrow(
      "different numbers of samples: image 2, more 3",
    );
  });
});
