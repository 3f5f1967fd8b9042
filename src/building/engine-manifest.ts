import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { type EngineManifest, engineSchema } from "../models/manifest.ts";
import { type CompileResult, fileSha256 } from "./compile-run.ts";

/** What the driver knows of a build and the compile program does not. */
export interface BuildFacts extends Pick<
  EngineManifest,
  "id" | "model" | "build" | "precision" | "threads" | "source" | "buildSeconds" | "builtAt"
> {
  /** Of the file that a replayed build was made from. */
  readonly replaySha256?: string | undefined;
}

/** The manifest of what a compile program left in `directory`, with the digests of its files. */
export async function toManifest(
  facts: BuildFacts,
  compiler: string,
  result: CompileResult,
  directory: string,
): Promise<EngineManifest> {
  const digest = async (file: string) => ({ file, sha256: await fileSha256(join(directory, file)) });
  const { tasksHit, tasksFallenBack, ...notes } = result.notes;
  // Which tasks a log served belongs to the log; without a log it is a note like others.
  const tasks = {
    ...(tasksHit === undefined ? {} : { tasksHit }),
    ...(tasksFallenBack === undefined ? {} : { tasksFallenBack }),
  };
  const { id, model, build, precision, threads, source, buildSeconds, builtAt } = facts;
  return engineSchema.parse({
    schema: 1,
    id,
    model,
    compiler: { name: compiler, version: result.compilerVersion },
    build,
    precision,
    target: result.target,
    device: result.device,
    threads,
    options: result.options,
    seed: result.seed,
    source,
    artifact: await digest(result.artifact),
    tuningLog: result.tuningLog === null ? null : { ...(await digest(result.tuningLog)), ...tasks },
    timingCache: result.timingCache === null ? null : await digest(result.timingCache),
    fingerprint: result.fingerprint,
    buildSeconds,
    builtAt,
    notes: {
      ...(result.tuningLog === null ? result.notes : notes),
      ...(facts.replaySha256 === undefined ? {} : { replaySha256: facts.replaySha256 }),
    },
  });
}

/** Writes `engine.yaml` into an engine's folder. */
export function writeManifest(directory: string, manifest: EngineManifest): Promise<void> {
  return writeFile(join(directory, "engine.yaml"), stringify(manifest));
}
