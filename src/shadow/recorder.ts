import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import { containedPath } from "../models/contained-path.ts";
import type { Model } from "../models/model.ts";
import type { NpyArray } from "../models/npy.ts";
import { writeNpz } from "../models/npz.ts";

/** Keeps served inputs for later audits where model.yaml says `record`: a file each, the oldest removed at maxBytes. */
export interface Recorder {
  /** Never waits and never fails the caller; an input that comes while the last one is being written is left out. */
  record(model: Model, id: string, inputs: readonly Tensor[]): void;
}

export function createRecorder({ log }: { readonly log: Log }): Recorder {
  const writing = new Set<string>();
  const folders = new Map<string, Promise<Folder>>();
  return {
    record(model, id, inputs) {
      const settings = model.config.record;
      if (!settings || writing.has(model.name)) return;
      writing.add(model.name);
      const directory = join(model.directory, settings.dir);
      let folder = folders.get(directory);
      if (!folder) {
        folder = openFolder(model.directory, settings.dir);
        folders.set(directory, folder);
        // What stood in its way may be gone by the next input.
        folder.catch(() => folders.delete(directory));
      }
      folder
        .then((opened) => opened.add(fileName(id), inputs, settings.maxBytes))
        .catch((error: unknown) => log.warn({ model: model.name, err: error }, "an input was not recorded"))
        .finally(() => writing.delete(model.name));
    },
  };
}

/** Headers of an array in an .npz file, generously. */
const archiveOverheadBytes = 512;

interface Folder {
  add(name: string, inputs: readonly Tensor[], maxBytes: number): Promise<void>;
}

async function openFolder(modelDirectory: string, inner: string): Promise<Folder> {
  const directory = await makeFolder(modelDirectory, inner);
  const files: { path: string; bytes: number }[] = [];
  for (const entry of (await readdir(directory, { withFileTypes: true })).toSorted(byName)) {
    const path = join(directory, entry.name);
    if (!entry.isFile()) continue;
    if (entry.name.endsWith(".npz")) files.push({ path, bytes: (await stat(path)).size });
    // A gateway was killed while it wrote this one.
    if (entry.name.endsWith(partialSuffix)) await rm(path, { force: true });
  }
  let bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return {
    async add(name, inputs, maxBytes) {
      const most = inputs.reduce((sum, { data }) => sum + data.byteLength + archiveOverheadBytes, 0);
      if (most > maxBytes) return;
      while (bytes + most > maxBytes) {
        const oldest = files.shift();
        if (!oldest) break;
        await rm(oldest.path, { force: true });
        bytes -= oldest.bytes;
      }
      const path = join(directory, name);
      const partial = path + partialSuffix;
      try {
        await writeNpz(partial, new Map(inputs.map((input) => [input.name, asSamples(input)])));
        await rename(partial, path);
      } catch (error) {
        await rm(partial, { force: true });
        throw error;
      }
      const written = (await stat(path)).size;
      files.push({ path, bytes: written });
      bytes += written;
    },
  };
}

/** Not .npz, so that an audit of the folder never meets half a file. */
const partialSuffix = ".partial";

/** Makes the folder step by step: a symbolic link on the way must not lead out of the model's folder. */
async function makeFolder(root: string, inner: string): Promise<string> {
  let directory = root;
  let path = "";
  for (const step of inner.split("/").filter((part) => part !== "")) {
    path = join(path, step);
    await mkdir(join(directory, step), { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    directory = await containedPath(root, path);
  }
  return directory;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** One sample along a first axis of its own, as audits read it. */
function asSamples({ datatype, shape, data }: Tensor): NpyArray {
  return { datatype, shape: [1, ...shape], data };
}

/** Sorts by time; what a client sent as id is reduced to what a file name may hold. */
function fileName(id: string): string {
  const time = new Date().toISOString().replaceAll(/[:.]/g, "-");
  return `${time}-${id.replaceAll(/[^A-Za-z0-9_-]/g, "").slice(0, 40)}.npz`;
}
