import { constants } from "node:fs";
import { copyFile, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { GatewayError } from "../core/errors.ts";
import { checkValue, parseYamlFile } from "../core/yaml-file.ts";
import { modelSchema, nameSchema, type ModelConfig } from "../models/manifest.ts";
import { fileSha256 } from "./compile-run.ts";

/** A model's place in a repository, be it there already or not. */
export interface ModelPlace {
  readonly name: string;
  readonly directory: string;
  readonly engines: string;
  readonly config: ModelConfig;
  /** The next free number of engines called `<prefix>-<n>`. */
  nextNumber(prefix: string): Promise<number>;
  /**
   * Moves a finished engine folder to `engines/<id>`; false when something has that name by now. With a model's first
   * engine its model.onnx and model.yaml are written, model.yaml last: the repository never shows half a model.
   */
  place(folder: string, id: string): Promise<boolean>;
}

/**
 * Looks where `onnx` (a path, its SHA-256) goes in the repository. Changes nothing.
 *
 * @throws GatewayError `conflict` when the model is there with another model.onnx, `invalid` for a bad name or model.yaml.
 */
export async function findModelPlace(
  repository: string,
  name: string,
  onnx: { readonly path: string; readonly sha256: string },
): Promise<ModelPlace> {
  checkValue(name, nameSchema, "--model");
  const directory = resolve(repository, name);
  const engines = join(directory, "engines");
  const modelFile = join(directory, "model.onnx");
  const configFile = join(directory, "model.yaml");
  const hasModel = await exists(modelFile);
  if (hasModel) {
    const there = await fileSha256(modelFile);
    if (there !== onnx.sha256) {
      throw new GatewayError(
        "conflict",
        `model "${name}" is there already with another model.onnx (SHA-256 ${there.slice(0, 12)}..., ` +
          `${onnx.path} has ${onnx.sha256.slice(0, 12)}...); choose another --model, or remove ${directory} first`,
      );
    }
  }
  const hasConfig = await exists(configFile);
  const config = hasConfig ? await parseYamlFile(configFile, modelSchema) : modelSchema.parse({ name });
  if (config.name !== name) {
    throw new GatewayError(
      "conflict",
      `${configFile} says name: ${config.name}; make it equal to the folder's name`,
    );
  }
  return {
    name,
    directory,
    engines,
    config,
    async nextNumber(prefix) {
      const numbers = (await readdir(engines).catch(() => []))
        .filter((entry) => entry.startsWith(`${prefix}-`))
        .map((entry) => Number(entry.slice(prefix.length + 1)))
        .filter((number) => Number.isSafeInteger(number));
      return Math.max(0, ...numbers) + 1;
    },
    async place(folder, id) {
      await mkdir(engines, { recursive: true });
      if (!(await exists(modelFile)))
        await putFile(modelFile, (path) => copyFile(onnx.path, path, constants.COPYFILE_FICLONE));
      try {
        await rename(folder, join(engines, id));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === "ENOTEMPTY" || code === "EEXIST" || code === "ENOTDIR") return false;
        if (!hasModel) await rm(modelFile, { force: true });
        throw error;
      }
      if (!(await exists(configFile)))
        await putFile(configFile, (path) => writeFile(path, `name: ${JSON.stringify(name)}\n`));
      return true;
    },
  };
}

/** Writes beside the place and renames, so that a reader sees all of it or nothing. */
async function putFile(path: string, write: (path: string) => Promise<void>): Promise<void> {
  const part = `${path}.part-${process.pid}`;
  try {
    await write(part);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
