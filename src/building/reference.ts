import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { EngineManifest } from "../models/manifest.ts";
import { openRepository } from "../models/repository.ts";
import type { BuildModel } from "./build-engines.ts";
import { runCompile } from "./compile-run.ts";
import { toManifest } from "./engine-manifest.ts";
import type { Families } from "./families.ts";
import { readOptions } from "./options.ts";

/** The engine that others are judged against, with what must be removed afterwards. */
export interface Reference {
  readonly name: string;
  readonly directory: string;
  readonly manifest: EngineManifest;
  remove(): Promise<void>;
}

/** design.md, Words: the reference is the first onnxruntime fp32 engine unless model.yaml names another. */
const referenceCompiler = "onnxruntime";

/**
 * The model's reference engine if it has one, else one made for the moment in a temporary folder: ONNX Runtime with
 * every optimisation off, which is as near to the ONNX file's own words as a runtime comes.
 *
 * @throws GatewayError when there is none and none can be built.
 */
export async function openReference(model: BuildModel, families: Families, clock: Clock): Promise<Reference> {
  return (await placedReference(model)) ?? temporaryReference(model, families, clock);
}

async function placedReference({ place }: BuildModel): Promise<Reference | undefined> {
  const repository = await openRepository(join(place.directory, "..")).catch(() => undefined);
  const folder = await repository?.read(place.name).catch(() => undefined);
  const chosen = place.config.reference;
  const engine = folder?.engines.find(({ id, manifest }) =>
    chosen === undefined
      ? manifest?.compiler.name === referenceCompiler && manifest.precision === "fp32"
      : id === chosen,
  );
  if (engine?.manifest === undefined) return undefined;
  return { name: engine.id, directory: engine.directory, manifest: engine.manifest, remove: async () => {} };
}

async function temporaryReference(
  { place, onnx, sha256 }: BuildModel,
  families: Families,
  clock: Clock,
): Promise<Reference> {
  const compiler = families.compiler(referenceCompiler);
  const options = readOptions(compiler, ["graphOptimizationLevel=disabled"]);
  const root = await mkdtemp(join(tmpdir(), "crosscheck-reference-"));
  const logFile = `${root}.log`;
  const remove = (): Promise<void> => rm(root, { recursive: true, force: true });
  try {
    const [workDirectory, directory] = [join(root, "work"), join(root, "out")];
    await mkdir(workDirectory);
    await mkdir(directory);
    const { threads } = place.config;
    const result = await runCompile(
      compiler,
      {
        model: { name: place.name, file: resolve(onnx), sha256 },
        compiler: compiler.name,
        precision: "fp32",
        build: 1,
        threads,
        options,
        replay: null,
        calibration: null,
        workDirectory,
        outDirectory: directory,
      },
      { logFile, onProgress: () => {} },
    );
    await rm(logFile, { force: true });
    const facts = {
      id: `${referenceCompiler}-unoptimised`,
      model: place.name,
      build: 1,
      precision: "fp32",
      threads,
      source: { file: "model.onnx", sha256 },
      buildSeconds: 0,
      builtAt: clock.now().toISOString(),
    };
    const manifest = await toManifest(facts, compiler.name, result, directory);
    return { name: "ONNX Runtime without optimisations", directory, manifest, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
