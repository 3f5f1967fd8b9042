import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { finished, pipeline } from "node:stream/promises";
import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import { checkValue } from "../core/yaml-file.ts";
import type { Compiler } from "./families.ts";
import type { OptionValue } from "./options.ts";
import { setupWords } from "./probe.ts";
import { runCommand } from "./run-command.ts";

/** What a compile program is told; engines/README.md describes it. */
export interface CompileJob {
  readonly model: { readonly name: string; readonly file: string; readonly sha256: string };
  readonly compiler: string;
  readonly precision: string;
  readonly build: number;
  readonly threads: number;
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly replay: string | null;
  readonly calibration: string | null;
  readonly workDirectory: string;
  readonly outDirectory: string;
}

const progressSchema = z.looseObject({
  type: z.literal("progress"),
  phase: z.string(),
  task: z.number().optional(),
  tasks: z.number().optional(),
  trial: z.number().optional(),
  trials: z.number().optional(),
  bestSeconds: z.number().optional(),
  secondsLeft: z.number().optional(),
  message: z.string().optional(),
});
const fileName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "must be the name of a file in outDirectory");
const resultSchema = z.looseObject({
  type: z.literal("result"),
  artifact: fileName,
  tuningLog: fileName.nullable().default(null),
  timingCache: fileName.nullable().default(null),
  compilerVersion: z.string(),
  target: z.string().nullable().default(null),
  device: z.looseObject({ kind: z.string(), name: z.string() }),
  options: z.record(z.string(), z.unknown()),
  seed: z.union([z.number(), z.string()]).nullable().default(null),
  fingerprint: z.string().min(1),
  notes: z.record(z.string(), z.unknown()).default({}),
});
const errorSchema = z.looseObject({
  type: z.literal("error"),
  error: z.string(),
  remedy: z.string().default(""),
});

export type CompileProgress = z.output<typeof progressSchema>;
export type CompileResult = z.output<typeof resultSchema>;

/** The build was stopped from outside; what is done lies in its work directory. */
export class BuildInterrupted extends Error {
  constructor() {
    super("the build was interrupted");
    this.name = "BuildInterrupted";
  }
}

/**
 * Runs one compile program and checks what it says against what lies in the job's outDirectory. Its standard error goes
 * to `logFile`.
 *
 * @throws BuildInterrupted after `signal`.
 * @throws GatewayError `conflict` with the program's own error and remedy, or what it did against its contract.
 */
export async function runCompile(
  compiler: Compiler,
  job: CompileJob,
  options: {
    readonly logFile: string;
    readonly onProgress: (progress: CompileProgress) => void;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<CompileResult> {
  const { logFile, onProgress, signal } = options;
  const events = createEvents(compiler.name, onProgress);
  const log = createWriteStream(logFile, { flags: "a" });
  // A full disk must not cost a build that otherwise works.
  log.on("error", () => {});
  let end;
  try {
    end = await runCommand(compiler.compile, {
      input: `${JSON.stringify(job)}\n`,
      onLine: (line) => {
        if (!events.take(line)) log.write(`${line}\n`);
      },
      onErrorLine: (line) => log.write(`${line}\n`),
      signal,
    });
  } catch (error) {
    throw new GatewayError(
      "conflict",
      `compiler "${compiler.name}" cannot be started: ${(error as Error).message}; ${setupWords(compiler)}`,
      { cause: error },
    );
  } finally {
    log.end();
    await finished(log).catch(() => {});
  }
  if (signal?.aborted === true) throw new BuildInterrupted();
  const failed = (why: string, remedy: string): GatewayError =>
    new GatewayError(
      "conflict",
      `${compiler.name} could not build "${job.model.name}": ${why}${remedy && `; ${remedy}`}`,
    );
  if (events.error !== undefined) throw failed(events.error.error, events.error.remedy);
  const { result } = events;
  if (end.code !== 0 || result === undefined) {
    const how = end.signal === null ? `exit code ${end.code}` : `signal ${end.signal}`;
    const outOfMemory = end.signal === "SIGKILL" ? "the machine may be out of memory; " : "";
    throw failed(
      `its compile program ended with ${how} and ${result ? "a" : "no"} result`,
      `${outOfMemory}see ${logFile}`,
    );
  }
  for (const file of [result.artifact, result.tuningLog, result.timingCache]) {
    if (file !== null) await checkFile(join(job.outDirectory, file), file, failed);
  }
  return result;
}

/** SHA-256 of a file, in lower-case hexadecimal. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

function createEvents(
  compiler: string,
  onProgress: (progress: CompileProgress) => void,
): {
  readonly result: CompileResult | undefined;
  readonly error: z.output<typeof errorSchema> | undefined;
  /** False for a line that is no event: a compiler's library that prints to standard output. */
  take(line: string): boolean;
} {
  let result: CompileResult | undefined;
  let error: z.output<typeof errorSchema> | undefined;
  return {
    get result() {
      return result;
    },
    get error() {
      return error;
    },
    take(line) {
      const event = parseObject(line);
      switch (event?.["type"]) {
        case "progress": {
          const progress = progressSchema.safeParse(event);
          if (progress.success) onProgress(progress.data);
          return progress.success;
        }
        case "result":
          try {
            result = checkValue(event, resultSchema, `result of the compile program of ${compiler}`);
          } catch (fault) {
            error = { type: "error", error: (fault as Error).message, remedy: "mend the compile program" };
          }
          return true;
        case "error":
          error = errorSchema.catch({ type: "error", error: line, remedy: "" }).parse(event);
          return true;
        default:
          return false;
      }
    },
  };
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

async function checkFile(
  path: string,
  file: string,
  failed: (why: string, remedy: string) => GatewayError,
): Promise<void> {
  const stat = await lstat(path).catch(() => undefined);
  if (stat?.isFile() === true && stat.size > 0) return;
  const what = stat === undefined ? "is not there" : stat.isFile() ? "is empty" : "is not a plain file";
  throw failed(`its compile program names the file "${file}", which ${what}`, "mend the compile program");
}
