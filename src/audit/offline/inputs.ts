import { createHash, type Hash } from "node:crypto";
import type { Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { GatewayError } from "../../core/errors.ts";
import type { Tensor, TensorSpec } from "../../core/tensor.ts";
import type { ModelConfig } from "../../models/manifest.ts";
import { readNpz } from "../../models/npz.ts";
import { fitSamples, type Samples } from "../../models/samples.ts";
import { imageExtensions, readImage } from "./images.ts";

/** What an audit runs on. Held in memory, so that reading never falls between two timed requests. */
export interface AuditInputs {
  /** In words, for the report. */
  readonly source: string;
  /** Of the tensors as the engines get them, and the labels. */
  readonly sha256: string;
  readonly inputs: readonly AuditInput[];
}

export interface AuditInput {
  /** The image's or file's name, or the sample's number in its file. */
  readonly id: string;
  readonly set: "clean" | "corrupted" | "given";
  readonly label: number | null;
  readonly tensors: readonly Tensor[];
}

const mostBytes = 2 ** 31;

/**
 * Opens an .npz file, a folder of images, a folder of .npz files (such as `record` writes), or, when none is given, the
 * model's labelled samples.
 *
 * @throws GatewayError `invalid`, `notFound` or `tooLarge`, which says what to give.
 */
export async function openInputs(
  place: { readonly directory: string; readonly config: ModelConfig },
  specs: readonly TensorSpec[],
  given: string | undefined,
): Promise<AuditInputs> {
  const found =
    given === undefined ? await ownSamples(place, specs) : await givenInputs(given, specs, place.config);
  return { ...found, sha256: digest(found.inputs) };
}

/** @throws GatewayError `invalid` for a label that is no class of the model's. */
export function checkLabels(given: AuditInputs, classes: number): AuditInputs {
  for (const { id, label } of given.inputs) {
    if (label === null || (Number.isInteger(label) && label >= 0 && label < classes)) continue;
    const range = classes === Infinity ? "" : ` from 0 to ${classes - 1}`;
    throw new GatewayError(
      "invalid",
      `${given.source}: label ${label} of "${id}" is no class of the model; give class numbers${range}`,
    );
  }
  return given;
}

type Found = Omit<AuditInputs, "sha256">;

async function ownSamples(
  { directory, config }: { readonly directory: string; readonly config: ModelConfig },
  specs: readonly TensorSpec[],
): Promise<Found> {
  const inputs: AuditInput[] = [];
  for (const set of ["clean", "corrupted"] as const) {
    const file = config.samples?.[set];
    if (file === undefined) continue;
    inputs.push(...(await fileInputs(join(directory, file), specs, config, set)));
  }
  if (inputs.length > 0) return { source: "the model's own samples", inputs };
  throw new GatewayError(
    "invalid",
    `model "${config.name}" has no samples of its own; give --inputs: an .npz file (one array per input, first axis ` +
      "the sample), a folder of images, or a folder of .npz files such as record writes",
  );
}

/** Told before engines are loaded. @throws GatewayError `notFound`. */
export async function checkInputs(path: string): Promise<Stats> {
  return stat(path).catch((cause: unknown) => {
    throw new GatewayError("notFound", `${path}: there is no such file or folder; --inputs names one`, {
      cause,
    });
  });
}

async function givenInputs(path: string, specs: readonly TensorSpec[], config: ModelConfig): Promise<Found> {
  const there = await checkInputs(path);
  if (!there.isDirectory())
    return { source: basename(path), inputs: await fileInputs(path, specs, config, "given") };

  const names = (await readdir(path)).toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const archives = names.filter((name) => extname(name).toLowerCase() === ".npz");
  const images = names.filter((name) => imageExtensions.has(extname(name).toLowerCase()));
  if (archives.length === 0 && images.length === 0)
    throw new GatewayError(
      "invalid",
      `${path}: holds neither images (${[...imageExtensions].join(", ")}) nor .npz files`,
    );
  const inputs: AuditInput[] = [];
  let bytes = 0;
  const take = (more: readonly AuditInput[]) => {
    inputs.push(...more);
    bytes += sizeOf(more);
    if (bytes > mostBytes)
      throw new GatewayError("tooLarge", `${path}: its inputs need more than ${mostBytes} bytes; give fewer`);
  };
  for (const name of archives) take(await fileInputs(join(path, name), specs, config, "given"));
  for (const name of images)
    take([
      { id: name, set: "given", label: null, tensors: await readImage(join(path, name), specs, config) },
    ]);
  const kind = archives.length > 0 ? (images.length > 0 ? "files" : ".npz files") : "images";
  return { source: `${archives.length + images.length} ${kind} of ${basename(path)}`, inputs };
}

async function fileInputs(
  path: string,
  specs: readonly TensorSpec[],
  config: ModelConfig,
  set: AuditInput["set"],
): Promise<AuditInput[]> {
  const samples: Samples = fitSamples(await readNpz(path), specs, config.preprocess, path);
  return Array.from({ length: samples.count }, (_, index) => ({
    id: samples.count === 1 ? basename(path) : `${basename(path)} ${index}`,
    set,
    label: samples.labels?.[index] ?? null,
    tensors: samples.at(index),
  }));
}

function digest(inputs: readonly AuditInput[]): string {
  const hash: Hash = createHash("sha256");
  for (const { label, tensors } of inputs) {
    hash.update(`${label}\n`);
    for (const { name, datatype, shape, data } of tensors)
      hash.update(`${name} ${datatype} ${shape.join("x")}\n`).update(data);
  }
  return hash.digest("hex");
}

function sizeOf(inputs: readonly AuditInput[]): number {
  return inputs.flatMap(({ tensors }) => tensors).reduce((sum, { data }) => sum + data.byteLength, 0);
}
