import { createHash } from "node:crypto";
import { copyFile, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Clock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import type { EngineManifest } from "../models/manifest.ts";
import { type OnnxFacts, readOnnx } from "../models/onnx.ts";
import { inputSpecs, openSamples, writeCalibration } from "./calibration.ts";
import { BuildInterrupted, type CompileProgress, fileSha256, runCompile } from "./compile-run.ts";
import { toManifest, writeManifest } from "./engine-manifest.ts";
import type { Compiler } from "./families.ts";
import { findModelPlace, type ModelPlace } from "./model-folder.ts";
import { checkPrecision, type OptionValue, readOptions } from "./options.ts";
import { openStaging, type Staging } from "./staging.ts";

export interface BuildRequest {
  readonly onnx: string;
  readonly model: string;
  readonly repository: string;
  readonly compiler: Compiler;
  readonly builds: number;
  readonly precision: string;
  /** `key=value` texts. */
  readonly options: readonly string[];
  /** Tuning log or timing cache to build from. */
  readonly replay?: string | undefined;
  /** .npz to calibrate from; default the model's own clean samples. */
  readonly inputs?: string | undefined;
}

export interface BuildTools {
  readonly clock: Clock;
  readonly onEvent: (event: BuildEvent) => void;
  /**
   * Looks at a finished engine before it is moved into the repository; what it throws fails the build.
   */
  readonly verify?: (engine: StagedEngine, model: BuildModel) => Promise<void>;
  /** Ctrl-C: stops the running build and keeps what is done. */
  readonly signal?: AbortSignal | undefined;
}

/** The model that is being built, as verify sees it. */
export interface BuildModel {
  readonly place: ModelPlace;
  readonly onnx: string;
  readonly sha256: string;
  readonly facts: OnnxFacts;
}

export interface StagedEngine {
  readonly id: string;
  readonly directory: string;
  readonly manifest: EngineManifest;
}

export type BuildEvent =
  | { readonly type: "resumed"; readonly done: readonly string[]; readonly builds: number }
  | { readonly type: "started"; readonly id: string; readonly build: number; readonly builds: number }
  | { readonly type: "progress"; readonly id: string; readonly progress: CompileProgress }
  | { readonly type: "built"; readonly id: string; readonly manifest: EngineManifest }
  | { readonly type: "placed"; readonly id: string; readonly directory: string };

/**
 * Builds `builds` engines of one model, each in a compile process and work directory of its own, and puts them into the
 * repository one by one, each by one rename. The same request after an interruption goes on where that stopped.
 *
 * @returns the ids of all engines of the request, those of an interrupted run included.
 * @throws BuildInterrupted after `signal`; what is done stays.
 * @throws GatewayError with the remedy; the repository is then as it was, but for builds that were finished before.
 */
export async function buildEngines(request: BuildRequest, tools: BuildTools): Promise<readonly string[]> {
  const { compiler, precision, builds } = request;
  checkPrecision(compiler, precision);
  const options = readOptions(compiler, request.options);
  const model = await readModel(request);
  const { place } = model;
  const replay = request.replay === undefined ? null : await replayFile(request.replay);
  const staging = await openStaging(place.engines, {
    source: model.sha256,
    compiler: compiler.name,
    precision,
    options,
    builds,
    threads: place.config.threads,
    replay: replay?.sha256 ?? null,
  });
  let leftOver = staging.done.length > 0;
  try {
    const done: string[] = [];
    for (const id of staging.done) if (await isThere(join(place.engines, id))) done.push(id);
    if (done.length > 0) tools.onEvent({ type: "resumed", done: [...done], builds });
    const calibration = await prepareCalibration(request, model, staging);
    for (let index = done.length; index < builds; index += 1) {
      done.push(await buildOne(request, model, staging, { options, replay, calibration, index }, tools));
      leftOver = true;
    }
    await staging.remove();
    return done;
  } catch (error) {
    // Ctrl-C in a terminal reaches the hosts of a check too; what they then say is no fault of the engine.
    const interrupted = tools.signal?.aborted === true || error instanceof BuildInterrupted;
    if (leftOver || interrupted) await staging.keep();
    else await staging.remove();
    throw interrupted ? new BuildInterrupted() : withRemedy(error, place.directory);
  }
}

/**
 * Looks whether a request can be built at all, so that a fault is told before a compiler is set up for it.
 *
 * @throws GatewayError as `buildEngines` does.
 */
export async function checkRequest(request: BuildRequest): Promise<void> {
  checkPrecision(request.compiler, request.precision);
  readOptions(request.compiler, request.options);
  await readModel(request);
  if (request.replay !== undefined) await replayFile(request.replay);
}

/** `autotvm`, or `tensorrt-fp16`: what the engines of a compiler and precision are called, less their number. */
function enginePrefix(compiler: string, precision: string): string {
  return precision === "fp32" ? compiler : `${compiler}-${precision}`;
}

interface OneBuild {
  readonly options: Readonly<Record<string, OptionValue>>;
  readonly replay: { readonly path: string; readonly sha256: string } | null;
  readonly calibration: string | null;
  readonly index: number;
}

async function buildOne(
  { compiler, precision, builds }: BuildRequest,
  model: BuildModel,
  staging: Staging,
  { index, options, replay, calibration }: OneBuild,
  { clock, onEvent, verify, signal }: BuildTools,
): Promise<string> {
  const { place } = model;
  const prefix = enginePrefix(compiler.name, precision);
  let build = await place.nextNumber(prefix);
  let id = `${prefix}-${build}`;
  if (signal?.aborted === true) throw new BuildInterrupted();
  onEvent({ type: "started", id, build: index + 1, builds });
  const outDirectory = await staging.outDirectory(index);
  // Outside the repository, so that a failed build's log can be read afterwards.
  const logFile = join(tmpdir(), `crosscheck-build-${place.name}-${id}-${process.pid}.log`);
  const begin = clock.seconds();
  const result = await runCompile(
    compiler,
    {
      model: { name: place.name, file: resolve(model.onnx), sha256: model.sha256 },
      compiler: compiler.name,
      precision,
      build,
      threads: place.config.threads,
      options,
      replay: replay?.path ?? null,
      calibration,
      workDirectory: await staging.workDirectory(index),
      outDirectory,
    },
    { logFile, signal, onProgress: (progress) => onEvent({ type: "progress", id, progress }) },
  ).finally(() => staging.addSeconds(index, clock.seconds() - begin));
  const facts = {
    id,
    model: place.name,
    build,
    precision,
    threads: place.config.threads,
    source: { file: "model.onnx", sha256: model.sha256 },
    buildSeconds: Number(staging.secondsSpent(index).toFixed(3)),
    builtAt: clock.now().toISOString(),
    replaySha256: replay?.sha256,
  };
  let manifest = await toManifest(facts, compiler.name, result, outDirectory);
  onEvent({ type: "built", id, manifest });
  await writeManifest(outDirectory, manifest);
  await verify?.({ id, directory: outDirectory, manifest }, model);
  await copyFile(logFile, join(outDirectory, "build.log"));
  // Somebody else may have taken the number meanwhile.
  while (!(await place.place(outDirectory, id))) {
    build = Math.max(build + 1, await place.nextNumber(prefix));
    id = `${prefix}-${build}`;
    manifest = { ...manifest, id, build };
    await writeManifest(outDirectory, manifest);
  }
  await rm(logFile, { force: true });
  await staging.addDone(id);
  onEvent({ type: "placed", id, directory: join(place.engines, id) });
  return id;
}

async function readModel({ onnx, model, repository }: BuildRequest): Promise<BuildModel> {
  const bytes = await readFile(onnx).catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "there is no such file" : `cannot be read: ${error.message}`;
    throw new GatewayError("notFound", `${onnx}: ${why}; give the path of an ONNX file`, { cause: error });
  });
  const facts = readOnnx(bytes, onnx);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const place = await findModelPlace(repository, model, { path: onnx, sha256 });
  return { place, onnx, sha256, facts };
}

async function replayFile(path: string): Promise<{ path: string; sha256: string }> {
  const file = await stat(path).catch(() => undefined);
  if (file?.isFile() === true) return { path: resolve(path), sha256: await fileSha256(path) };
  throw new GatewayError(
    "notFound",
    `--replay ${path}: there is no such file; give the tuning log or timing cache that lies beside an engine's artifact`,
  );
}

async function prepareCalibration(
  request: BuildRequest,
  model: BuildModel,
  staging: Staging,
): Promise<string | null> {
  const { compiler, precision, inputs } = request;
  if (!compiler.calibrated.includes(precision)) return null;
  const samples = await openSamples(model.place, inputSpecs(model.facts, request.onnx), inputs);
  if (samples === undefined) {
    throw new GatewayError(
      "invalid",
      `${compiler.name} at ${precision} is calibrated from sample inputs and model "${model.place.name}" has none; ` +
        "give --inputs FILE.npz, or samples: { clean: FILE.npz } in its model.yaml",
    );
  }
  const path = join(staging.directory, "calibration.npz");
  await writeCalibration(path, samples);
  return path;
}

/** A full disk shows anywhere; it is told apart so that nobody looks for a fault in the model. */
function withRemedy(error: unknown, directory: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const full =
    code === "ENOSPC" || code === "EDQUOT" || /no space left on device|disk quota exceeded/i.test(message);
  if (!full) return error;
  return new GatewayError(
    "conflict",
    `the disk is full: ${message}; free space for ${directory} or the folder for temporary files, then run the same command again`,
    { cause: error },
  );
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
