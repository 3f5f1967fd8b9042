import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { readOnnx } from "../../src/models/onnx.ts";
import { withConstantInitializers } from "../../src/models/onnx-rewrite.ts";
import { graphFingerprint } from "./fingerprint.ts";
import { CompileError, type Job, type OptimizationLevel, progress, runJob } from "./job.ts";
import { quantize, quantizerProblem, setupRemedy } from "./quantizer.ts";
import { deviceOf, runtimeVersion } from "./runtime.ts";

/** Compile program: writes the optimised graph as ONNX; the host loads it without optimising it again. */
const artifactFile = "model.onnx";
const [python = "python3"] = process.argv.slice(2);
const directory = process.cwd();

await runJob(async (job) => {
  const { executionProvider, graphOptimizationLevel } = job.options;
  if (job.replay !== null) {
    throw new CompileError(
      "onnxruntime does not tune, so there is nothing to replay",
      "leave --replay out: builds of one version on one machine are equal",
    );
  }
  checkProvider(executionProvider);
  const bytes = await readFile(job.model.file);
  const facts = readOnnx(bytes, job.model.file);
  if (facts.externalFiles.length > 0) {
    throw new CompileError(
      `model "${job.model.name}" keeps weights in other files (${facts.externalFiles.join(", ")})`,
      "merge them into the model: onnx.save_model(model, file, save_as_external_data=False)",
    );
  }
  let source = join(job.workDirectory, "constants.onnx");
  await writeFile(source, withConstantInitializers(bytes, job.model.file));
  if (job.precision === "int8") source = await toInt8(job, source);

  progress("optimising", graphOptimizationLevel);
  const artifact = join(job.outDirectory, artifactFile);
  // Kernels of other providers are chosen when the host loads the graph, so only portable rewrites are done here.
  const portable = graphOptimizationLevel === "disabled" ? "disabled" : "basic";
  await optimise(
    source,
    artifact,
    executionProvider === "cpu" ? graphOptimizationLevel : portable,
    job.threads,
  );
  const written = readOnnx(await readFile(artifact), artifact);
  await rm(source, { force: true });
  return {
    artifact: artifactFile,
    tuningLog: null,
    timingCache: null,
    compilerVersion: runtimeVersion(),
    target: `${executionProvider} ${process.arch}`,
    device: deviceOf(executionProvider),
    options: job.options,
    seed: null,
    fingerprint: graphFingerprint(written.nodes),
    notes: { nodes: written.nodes.length, sourceNodes: facts.nodes.length },
  };
});

async function toInt8(job: Job, model: string): Promise<string> {
  const problem = quantizerProblem(python, join(directory, ".venv"));
  if (problem !== undefined) throw new CompileError(`int8 cannot be built: ${problem}`, setupRemedy);
  if (job.calibration === null) {
    throw new CompileError(
      "int8 needs calibration inputs",
      "give --inputs FILE.npz, or samples: in model.yaml",
    );
  }
  progress("calibrating", job.options.calibrationMethod);
  const output = join(job.workDirectory, "int8.onnx");
  await quantize(python, directory, job, { model, calibration: job.calibration, output });
  return output;
}

async function optimise(
  source: string,
  artifact: string,
  level: OptimizationLevel,
  threads: number,
): Promise<void> {
  try {
    const session = await ort.InferenceSession.create(source, {
      graphOptimizationLevel: level,
      optimizedModelFilePath: artifact,
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // 3: errors only. That layout optimisation ties the file to this processor is known: the manifest names it.
      logSeverityLevel: 3,
    });
    await session.release();
    // What was written must load again as it is: some fusions have no ONNX form.
    const check = await ort.InferenceSession.create(artifact, {
      graphOptimizationLevel: "disabled",
      logSeverityLevel: 3,
    });
    await check.release();
  } catch (error) {
    throw new CompileError(
      `onnxruntime ${runtimeVersion()} cannot compile this model: ${(error as Error).message.trim()}`,
      "an operator or version it lacks: export with a lower opset or other operators; or try --option graphOptimizationLevel=basic",
    );
  }
}

function checkProvider(name: string): void {
  const offered = ort.listSupportedBackends().map((backend) => backend.name);
  if (offered.includes(name)) return;
  throw new CompileError(
    `this onnxruntime-node has no execution provider "${name}"; it has ${offered.join(", ")}`,
    "install a build of onnxruntime-node that has it, or use executionProvider=cpu",
  );
}
