import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { EngineManifest } from "../../models/manifest.ts";
import type { ReportEngine } from "./schema.ts";

/** What the manifest tells of an engine, before anything was measured. */
export async function engineFacts(
  id: string,
  directory: string,
  manifest: EngineManifest,
): Promise<EngineFacts> {
  const { compiler, precision, target, device, threads, options, seed } = manifest;
  const { artifact, fingerprint, buildSeconds, builtAt } = manifest;
  const file = await stat(join(directory, artifact.file)).catch(() => undefined);
  return {
    id,
    compiler: compiler.name,
    compilerVersion: compiler.version,
    precision,
    target,
    device: device.name,
    threads,
    options,
    seed,
    artifactSha256: artifact.sha256,
    artifactBytes: file?.size ?? null,
    fingerprint,
    buildSeconds,
    builtAt,
  };
}

export type EngineFacts = Pick<
  ReportEngine,
  | "id"
  | "compiler"
  | "compilerVersion"
  | "precision"
  | "target"
  | "device"
  | "threads"
  | "options"
  | "seed"
  | "artifactSha256"
  | "artifactBytes"
  | "fingerprint"
  | "buildSeconds"
  | "builtAt"
>;
