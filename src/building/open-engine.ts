import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { HostPriority } from "../hosting/launch.ts";
import { createPool, type Pool } from "../hosting/pool.ts";
import type { EngineManifest } from "../models/manifest.ts";
import type { Compiler } from "./families.ts";

/** One host process for an engine that lies in any folder, in the repository or not yet; not started. */
export function openEngine(
  engine: { readonly directory: string; readonly manifest: EngineManifest },
  host: Compiler["host"],
  options: { readonly clock: Clock; readonly log: Log; readonly priority?: HostPriority },
): Pool {
  const { directory, manifest } = engine;
  const { clock, log, priority = "serving" } = options;
  return createPool({
    label: { model: manifest.model, engine: manifest.id },
    host: { command: [host.file, ...host.args], workingDirectory: host.cwd, env: host.env },
    artifact: { path: join(directory, manifest.artifact.file), sha256: manifest.artifact.sha256 },
    manifest,
    directory,
    threads: manifest.threads,
    instances: { min: 1, max: 1 },
    priority,
    clock,
    log,
  });
}
