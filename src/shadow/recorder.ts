import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
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
      if (!folder) folders.set(directory, (folder = openFolder(directory)));
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

async function openFolder(directory: string): Promise<Folder> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const files: { path: string; bytes: number }[] = [];
  for (const name of (await readdir(directory)).filter((entry) => entry.endsWith(".npz")).toSorted())
    files.push({ path: join(directory, name), bytes: (await stat(join(directory, name))).size });
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
      await writeNpz(path, new Map(inputs.map((input) => [input.name, asSamples(input)])));
      const written = (await stat(path)).size;
      files.push({ path, bytes: written });
      bytes += written;
    },
  };
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
