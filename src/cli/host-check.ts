import { join, resolve } from "node:path";
import type { Command } from "commander";
import { readFamilies } from "../building/families.ts";
import { silentLog } from "../core/log.ts";
import { packageRoot } from "../core/package-root.ts";
import { parseYamlFile } from "../core/yaml-file.ts";
import { runConformance, type ConformanceOptions, type ConformanceReport } from "../hosting/conformance.ts";
import { engineSchema } from "../models/manifest.ts";
import { seconds } from "./seconds.ts";

interface HostCheckFlags {
  readonly engine?: string;
  readonly timeout: number;
  readonly json?: true;
}

export function registerHostCheck(program: Command): void {
  program
    .command("host-check")
    .description("conformance test of an engine host: does a program keep to docs/engine-host.md?")
    .argument(
      "[command...]",
      "the host program and its arguments, after --; default the one of the engine's family",
    )
    .option(
      "--engine <folder>",
      "an engine (engine.yaml and artifact) that it can load; without one only frames are tested",
    )
    .option("--timeout <seconds>", "for one answer, loading included", seconds, 60)
    .option("--json", "print the result as JSON")
    .action(hostCheck);
}

async function hostCheck(words: string[], flags: HostCheckFlags, self: Command): Promise<void> {
  const { engine: folder, timeout, json } = flags;
  if (folder === undefined && words.length === 0)
    self.error("error: name a host program, or an engine with --engine");
  const { command, ...options } = await prepare(words, folder);
  const report = await runConformance(command, { ...options, log: silentLog, timeoutSeconds: timeout });
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : text(report));
  if (report.checks.some(({ passed }) => !passed)) process.exitCode = 1;
}

type Prepared = Pick<ConformanceOptions, "workingDirectory" | "env" | "threads" | "engine"> & {
  readonly command: readonly string[];
};

async function prepare(words: readonly string[], folder: string | undefined): Promise<Prepared> {
  const root = packageRoot();
  const own = {
    command: words,
    workingDirectory: process.cwd(),
    // As hosts of the families have it; what the caller's own path finds comes first.
    env: {
      ...process.env,
      PYTHONPATH: [process.env["PYTHONPATH"], join(root, "engines/python")].filter(Boolean).join(":"),
    },
    threads: 1,
  };
  if (folder === undefined) return own;
  const directory = resolve(folder);
  const manifest = await parseYamlFile(join(directory, "engine.yaml"), engineSchema);
  const { artifact, compiler, threads } = manifest;
  const engine = {
    directory,
    manifest,
    artifact: { path: join(directory, artifact.file), sha256: artifact.sha256 },
  };
  if (words.length > 0) return { ...own, threads, engine };
  const families = await readFamilies({ root, environment: process.env });
  const { file, args, cwd, env } = families.hostCommand(compiler.name);
  return { command: [file, ...args], workingDirectory: cwd, env, threads, engine };
}

function text({ checks }: ConformanceReport): string {
  const failed = checks.filter(({ passed }) => !passed).length;
  const lines = checks.map(({ name, passed, detail }) =>
    passed ? `pass  ${name}` : `FAIL  ${name}\n      ${detail}`,
  );
  return `${lines.join("\n")}\n${checks.length - failed} of ${checks.length} passed\n`;
}
