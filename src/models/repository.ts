import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { GatewayError } from "../core/errors.ts";
import { nearestHint, parseYamlFile } from "../core/yaml-file.ts";
import { containedPath } from "./contained-path.ts";
import { engineSchema, modelSchema, nameSchema, type EngineManifest, type ModelConfig } from "./manifest.ts";

/** A model's folder as it lies on disk. `error` says why it cannot be used; the others are not touched by that. */
export interface ModelFolder {
  readonly name: string;
  readonly directory: string;
  readonly config: ModelConfig | undefined;
  readonly error: string | undefined;
  readonly engines: readonly EngineFolder[];
}

export interface EngineFolder {
  readonly id: string;
  readonly directory: string;
  readonly manifest: EngineManifest | undefined;
  readonly error: string | undefined;
}

/** Reads a repository folder; nothing is kept, so every call sees the disk as it is. */
export interface Repository {
  /** The folder's real path: state is keyed by it, so that two repositories never mix. */
  readonly path: string;
  names(): Promise<string[]>;
  /** @throws GatewayError `notFound` when there is no such folder. */
  read(model: string): Promise<ModelFolder>;
}

export async function openRepository(path: string): Promise<Repository> {
  const root = await realpath(path).catch((cause: unknown) => {
    throw new GatewayError(
      "notFound",
      `model repository "${path}" does not exist; create it or name another one with --repository`,
      { cause },
    );
  });
  return {
    path: root,
    names: () => folderNames(root, "model.yaml"),
    read: (model) => readModel(root, model),
  };
}

async function readModel(root: string, name: string): Promise<ModelFolder> {
  const directory = join(root, name);
  const known =
    nameSchema.safeParse(name).success && (await stat(join(directory, "model.yaml")).catch(() => null));
  if (!known)
    throw new GatewayError(
      "notFound",
      `model "${name}" is not in the repository; ${namesHint(name, await folderNames(root, "model.yaml"))}`,
    );
  const folder = { name, directory, config: undefined, engines: [] };
  try {
    await containedPath(root, name);
    const config = await parseYamlFile(join(directory, "model.yaml"), modelSchema);
    if (config.name !== name)
      throw new GatewayError(
        "conflict",
        `model.yaml of folder "${name}" says name: ${config.name}; make the two equal`,
      );
    return { ...folder, config, error: undefined, engines: await readEngines(directory, name) };
  } catch (error) {
    return { ...folder, error: (error as Error).message };
  }
}

/** The nearest name, and what there is. */
function namesHint(name: string, known: readonly string[]): string {
  if (known.length === 0) return "it holds no model";
  const hint = nearestHint(name, known);
  return hint.startsWith("known: ") ? hint : `${hint} known: ${known.join(", ")}`;
}

async function readEngines(modelDirectory: string, model: string): Promise<EngineFolder[]> {
  const parent = join(modelDirectory, "engines");
  const ids = await folderNames(parent, "engine.yaml");
  return Promise.all(ids.map((id) => readEngine(parent, id, model)));
}

async function readEngine(parent: string, id: string, model: string): Promise<EngineFolder> {
  const directory = join(parent, id);
  try {
    await containedPath(parent, id);
    const manifest = await parseYamlFile(join(directory, "engine.yaml"), engineSchema);
    if (manifest.id !== id)
      throw new GatewayError(
        "conflict",
        `engine.yaml in folder "${id}" says id: ${manifest.id}; make the two equal`,
      );
    if (manifest.model !== model)
      throw new GatewayError(
        "conflict",
        `engine "${id}" was built for model "${manifest.model}", not for "${model}"; compile it for this model`,
      );
    return { id, directory, manifest, error: undefined };
  } catch (error) {
    return { id, directory, manifest: undefined, error: (error as Error).message };
  }
}

/** Names of sub-folders that hold `marker`, sorted by number where they end in one (onnxruntime-2 before -10). */
async function folderNames(parent: string, marker: string): Promise<string[]> {
  const entries = await readdir(parent, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw error;
  });
  const named = entries
    .map((entry) => entry.name)
    .filter((name) => nameSchema.safeParse(name).success && !name.startsWith("."));
  const holding = await Promise.all(
    named.map((name) =>
      stat(join(parent, name, marker)).then(
        () => name,
        () => undefined,
      ),
    ),
  );
  return holding
    .filter((name) => name !== undefined)
    .toSorted((a, b) => a.localeCompare(b, "en", { numeric: true }));
}
