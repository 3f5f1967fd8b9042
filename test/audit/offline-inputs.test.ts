import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { checkLabels, openInputs } from "../../src/audit/offline/inputs.ts";
import { createRecorder } from "../../src/shadow/recorder.ts";
import { silentLog } from "../../src/core/log.ts";
import type { TensorSpec } from "../../src/core/tensor.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";

const nchw: TensorSpec = { name: "image", datatype: "FP32", shape: [1, 3, 2, 4] };

function place(settings: object): Parameters<typeof openInputs>[0] {
  return { directory: "/nowhere", config: modelSchema.parse({ name: "m", ...settings }) };
}

async function imageFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crosscheck-images-"));
  const background = { r: 200, g: 100, b: 50 };
  await sharp({ create: { width: 40, height: 20, channels: 3, background } })
    .png()
    .toFile(join(folder, "b10.png"));
  await sharp({ create: { width: 7, height: 9, channels: 4, background: { ...background, alpha: 1 } } })
    .png()
    .toFile(join(folder, "b9.png"));
  await writeFile(join(folder, "notes.txt"), "no image");
  return folder;
}

const floats = (data: Uint8Array | undefined) => [
  ...new Float32Array(data?.slice().buffer ?? new ArrayBuffer(0)),
];
const times = (value: number) => Array.from({ length: 8 }, () => value);

describe("a folder of images", () => {
  it("is resized, put in colour order, scaled and laid out as preprocess says", async () => {
    const folder = await imageFolder();
    const rgb = await openInputs(
      place({ preprocess: { size: [2, 4], mean: [0, 100, 50], scale: [1, 1, 2] } }),
      [nchw],
      folder,
    );
    expect(rgb.source).toMatch(/^2 images of crosscheck-images-/);
    // By number, not by letter; other files are left out.
    expect(rgb.inputs.map(({ id, label, set }) => [id, label, set])).toEqual([
      ["b9.png", null, "given"],
      ["b10.png", null, "given"],
    ]);
    for (const { tensors } of rgb.inputs) {
      expect(tensors[0]).toMatchObject({ name: "image", datatype: "FP32", shape: [1, 3, 2, 4] });
      expect(floats(tensors[0]?.data)).toEqual([...times(200), ...times(0), ...times(0)]);
    }
    const bgr = await openInputs(place({ preprocess: { size: [2, 4], color: "bgr" } }), [nchw], folder);
    expect(floats(bgr.inputs[0]?.tensors[0]?.data)).toEqual([...times(50), ...times(100), ...times(200)]);
    const nhwc = await openInputs(
      place({ preprocess: { size: [2, 4], layout: "nhwc" } }),
      [{ ...nchw, shape: [1, 2, 4, 3] }],
      folder,
    );
    expect(floats(nhwc.inputs[0]?.tensors[0]?.data).slice(0, 6)).toEqual([200, 100, 50, 200, 100, 50]);
    const gray = await openInputs(
      place({ preprocess: { size: [2, 4], color: "gray" } }),
      [{ ...nchw, shape: [1, 1, 2, 4] }],
      folder,
    );
    const [pixel] = floats(gray.inputs[0]?.tensors[0]?.data);
    expect(pixel).toBeGreaterThan(90);
    expect(pixel).toBeLessThan(130);
    expect(new Set([rgb.sha256, bgr.sha256, nhwc.sha256, gray.sha256]).size).toBe(4);
  });

  it("is refused with the remedy when it does not fit", async () => {
    const folder = await imageFolder();
    const open = (settings: object, specs: TensorSpec[]) => openInputs(place(settings), specs, folder);
    await expect(open({}, [nchw])).rejects.toThrow(
      /does not say how an image becomes its input; add to model.yaml/,
    );
    const preprocess = { size: [2, 4] };
    await expect(open({ preprocess }, [nchw, { ...nchw, name: "mask" }])).rejects.toThrow(
      /has 2 inputs \(image, mask\), and an image fills one/,
    );
    await expect(open({ preprocess: { size: [3, 4] } }, [nchw])).rejects.toThrow(/has shape \[1, 3, 3, 4\]/);
    await writeFile(join(folder, "broken.jpg"), "not a picture");
    await expect(open({ preprocess }, [nchw])).rejects.toThrow(/broken\.jpg: cannot be read as an image/);
  });
});

describe("other inputs", () => {
  it("takes what the gateway recorded", async () => {
    const directory = await mkdtemp(join(tmpdir(), "crosscheck-recorded-"));
    const config = modelSchema.parse({ name: "m", record: { dir: "recorded" } });
    const model = new Model({ name: "m", directory, config, engines: new Map(), broken: new Map() });
    const recorder = createRecorder({ log: silentLog });
    const spec: TensorSpec = { name: "x", datatype: "FP32", shape: [1, 2] };
    const files = async () =>
      (await openInputs({ directory, config }, [spec], join(directory, "recorded")).catch(() => undefined))
        ?.inputs ?? [];
    for (const value of [1, 2]) {
      const data = new Uint8Array(Float32Array.of(value, 0.5).buffer);
      recorder.record(model, `r${value}`, [{ name: "x", datatype: "FP32", shape: [1, 2], data }]);
      await expect.poll(async () => (await files()).length).toBe(value);
    }
    const inputs = await files();
    expect(inputs.map(({ tensors }) => floats(tensors[0]?.data))).toEqual([
      [1, 0.5],
      [2, 0.5],
    ]);
    expect(inputs[1]?.id).toMatch(/-r2\.npz$/);
  });

  it("refuses labels that are no class of the model's", () => {
    const labelled = (label: number | null) => ({
      source: "given.npz",
      sha256: "",
      inputs: [{ id: "given.npz 0", set: "given" as const, label, tensors: [] }],
    });
    for (const label of [null, 0, 19]) expect(checkLabels(labelled(label), 20).inputs).toHaveLength(1);
    for (const label of [20, -1, 0.5])
      expect(() => checkLabels(labelled(label), 20)).toThrow(
        `given.npz: label ${label} of "given.npz 0" is no class of the model; give class numbers from 0 to 19`,
      );
  });

  it("says what to give when the model has no samples", async () => {
    await expect(openInputs(place({}), [nchw], undefined)).rejects.toThrow(
      /model "m" has no samples of its own; give --inputs: an .npz file .*folder of images, or a folder of .npz files/,
    );
  });
});
