import { basename } from "node:path";
import sharp from "sharp";
import { GatewayError } from "../../core/errors.ts";
import type { Tensor, TensorSpec } from "../../core/tensor.ts";
import type { ModelConfig } from "../../models/manifest.ts";
import type { NpyArray } from "../../models/npy.ts";
import { fitSamples } from "../../models/samples.ts";

export const imageExtensions: ReadonlySet<string> = new Set([".jpg", ".jpeg", ".png", ".webp"]);

/**
 * An image as the model takes it, by `preprocess` of model.yaml: turned as its EXIF data say, stretched to `size`
 * (bilinear), colours in order, (pixel - mean) * scale.
 *
 * @throws GatewayError `invalid` without `preprocess`, with more than one input, or for a file that is no image.
 */
export async function readImage(
  path: string,
  specs: readonly TensorSpec[],
  config: Pick<ModelConfig, "name" | "preprocess">,
): Promise<Tensor[]> {
  const { preprocess, name } = config;
  if (preprocess === undefined)
    throw new GatewayError(
      "invalid",
      `model "${name}" does not say how an image becomes its input; add to model.yaml, such as preprocess: ` +
        "{ size: [240, 320], color: rgb, mean: 127, scale: 0.0078125, layout: nchw }, or give .npz files",
    );
  const [spec] = specs;
  if (spec === undefined || specs.length !== 1)
    throw new GatewayError(
      "invalid",
      `model "${name}" has ${specs.length} inputs (${specs.map((one) => one.name).join(", ")}), and an image fills one; give .npz files`,
    );
  const pixels = await decode(path, preprocess);
  return fitSamples(
    { names: [spec.name], has: (array) => array === spec.name, get: () => pixels },
    specs,
    preprocess,
    basename(path),
  ).at(0);
}

/** One sample of bytes: [1, C, H, W] or [1, H, W, C]. */
async function decode(
  path: string,
  { size: [height, width], color, layout }: NonNullable<ModelConfig["preprocess"]>,
): Promise<NpyArray> {
  const channels = color === "gray" ? 1 : 3;
  const image = sharp(path)
    .autoOrient()
    .flatten()
    .resize(width, height, { fit: "fill", kernel: "linear" })
    .toColourspace(color === "gray" ? "b-w" : "srgb");
  const pixels = await image
    .raw()
    .toBuffer()
    .catch((cause: unknown) => {
      throw new GatewayError("invalid", `${path}: cannot be read as an image: ${(cause as Error).message}`, {
        cause,
      });
    });
  const plane = height * width;
  if (pixels.byteLength !== plane * channels)
    throw new GatewayError(
      "invalid",
      `${path}: decodes to ${pixels.byteLength / plane} channels, not ${channels}`,
    );
  const data = new Uint8Array(plane * channels);
  for (let at = 0; at < plane; at += 1)
    for (let channel = 0; channel < channels; channel += 1) {
      const from = at * channels + (color === "bgr" ? channels - 1 - channel : channel);
      data[layout === "nchw" ? channel * plane + at : at * channels + channel] = pixels[from] as number;
    }
  const shape = layout === "nchw" ? [1, channels, height, width] : [1, height, width, channels];
  return { datatype: "UINT8", shape, data };
}
