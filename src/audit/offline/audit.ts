import { join } from "node:path";
import type { Families } from "../../building/families.ts";
import type { LotteryEngine } from "../../building/lottery.ts";
import { compileCommand, replayCommand } from "../../building/lottery-groups.ts";
import { type ModelEngines, readModelEngines } from "../../building/model-engines.ts";
import { createRandom } from "../../compare/statistics/random.ts";
import { GatewayError } from "../../core/errors.ts";
import { nearestHint } from "../../core/yaml-file.ts";
import type { TimedReading } from "../../devices/reading.ts";
import { deadlineMissRatio } from "../rules/deadline-miss-ratio.ts";
import { createGpuTally, describePlatform } from "../report/platform.ts";
import type { Report, ReportEngine } from "../report/schema.ts";
import { classesOf } from "../classes.ts";
import { checkInputs, checkLabels, openInputs } from "./inputs.ts";
import { modelWork } from "./model-work.ts";
import { measure, type MeasureOptions } from "./measure.ts";
import { offlineReport } from "./offline-report.ts";

export interface AuditOptions extends Pick<
  MeasureOptions,
  "runs" | "streamsSeconds" | "deviceState" | "clock" | "log" | "onProgress" | "signal"
> {
  readonly repository: string;
  readonly model: string;
  /** Ids of engines; default every engine of the model. */
  readonly engines: readonly string[] | undefined;
  /** An .npz file or a folder; default the model's labelled samples. */
  readonly inputs: string | undefined;
  readonly families: Families;
  /** Of the random order. */
  readonly seed: number;
  readonly readings: () => readonly TimedReading[];
  readonly crosscheckVersion: string;
}

/** How often the GPU is looked at. */
const readingMs = 1000;

/**
 * Audits engines of a repository, without a gateway, against the model's reference.
 *
 * @throws GatewayError `notFound` or `invalid` for what was asked, `conflict` or `engineFailed` when the reference
 * cannot be run.
 */
export async function auditModel(options: AuditOptions): Promise<Report> {
  const { runs, families, seed, clock, crosscheckVersion, readings } = options;
  const { model, directory, engines, reference } = await readModel(options.repository, options.model);
  if (options.streamsSeconds > 0 && model.deadlineMs === undefined)
    throw new GatewayError(
      "invalid",
      `--streams needs a deadline: add deadlineMs to model.yaml of "${model.name}"`,
    );
  const chosen = chooseEngines(engines, options.engines, model.name);
  if (options.inputs !== undefined) await checkInputs(options.inputs);
  const gpus = createGpuTally();
  const timer = setInterval(() => gpus.add(readings()), readingMs).unref();
  try {
    const measurement = await measure(
      reference,
      chosen.filter((engine) => engine !== reference),
      {
        ...options,
        model: model.name,
        compare: { task: model.task, tolerance: model.tolerance, detection: model.detection },
        targetMissRatio:
          model.policy.rules?.find(({ rule }) => rule === deadlineMissRatio.name)?.threshold ??
          deadlineMissRatio.threshold,
        deadlineSeconds: model.deadlineMs === undefined ? undefined : model.deadlineMs / 1000,
        openInputs: async (info) => {
          const inputs = await openInputs({ directory, config: model }, info.inputs, options.inputs);
          // Labels are of classes; other tasks do not look at them.
          const classes = classesOf({ info, config: model });
          return model.task === "classification" ? checkLabels(inputs, classes) : inputs;
        },
        random: createRandom(seed),
      },
    );
    gpus.add(readings());
    return await offlineReport({
      model,
      measurement,
      work: await modelWork(
        directory,
        reference.manifest.source,
        measurement.inputs.inputs[0]?.tensors ?? [],
      ),
      judged: new Set(chosen.map(({ id }) => id)),
      runs,
      seed,
      platform: describePlatform(gpus.result()),
      crosscheckVersion,
      generatedAt: clock.now(),
      replay: (engine) => replayOf(engine, families, options.repository, directory),
    });
  } finally {
    clearInterval(timer);
  }
}

interface AuditedModel extends ModelEngines {
  readonly reference: LotteryEngine;
}

async function readModel(path: string, name: string): Promise<AuditedModel> {
  const found = await readModelEngines(path, name);
  const { model, directory, engines } = found;
  // As design.md words it: the one that model.yaml names, else the first onnxruntime fp32 engine.
  const reference = engines.find(({ id, manifest }) =>
    model.reference === undefined
      ? manifest.compiler.name === "onnxruntime" && manifest.precision === "fp32"
      : id === model.reference,
  );
  if (reference === undefined)
    throw new GatewayError(
      "invalid",
      model.reference === undefined
        ? `model "${name}" has no reference to judge against; make one: npx crosscheck compile ${join(directory, "model.onnx")} --model ${name} --compiler onnxruntime --repository ${path}`
        : `model.yaml of "${name}" names reference "${model.reference}", which is not among its engines; compile it or change the name`,
    );
  return { ...found, reference };
}

function chooseEngines(
  engines: readonly LotteryEngine[],
  wanted: readonly string[] | undefined,
  model: string,
): readonly LotteryEngine[] {
  if (wanted === undefined) return engines;
  return [...new Set(wanted)].map((id) => {
    const found = engines.find((engine) => engine.id === id);
    if (found !== undefined) return found;
    const hint = nearestHint(
      id,
      engines.map((engine) => engine.id),
    );
    throw new GatewayError("notFound", `model "${model}" has no engine "${id}"; ${hint}`);
  });
}

function replayOf(
  engine: LotteryEngine,
  families: Families,
  repository: string,
  directory: string,
): ReportEngine["replay"] {
  const paths = { repository, modelFile: join(directory, "model.onnx") };
  const compiler = families.compiler(engine.manifest.compiler.name);
  const replay = replayCommand(engine, compiler, paths);
  if ("command" in replay) return { command: replay.command, note: null };
  const note = `the same settings anew: ${replay.why}`;
  return { command: compileCommand(engine, compiler, paths), note };
}
