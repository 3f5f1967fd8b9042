import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { type BuildEvent, buildEngines, type BuildRequest, checkRequest } from "../building/build-engines.ts";
import { type Checker, createChecker, type EngineCheck } from "../building/check-engine.ts";
import { BuildInterrupted } from "../building/compile-run.ts";
import { readFamilies } from "../building/families.ts";
import { ensureCompiler } from "../building/setup.ts";
import { systemClock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import { packageRoot } from "../core/package-root.ts";
import { type BuildProgress, createBuildProgress } from "./build-progress.ts";
import { checkFile } from "./check-file.ts";
import { count, share } from "./words.ts";

interface CompileFlags {
  readonly model: string;
  readonly compiler: string;
  readonly repository: string;
  readonly builds: number;
  readonly precision: string;
  readonly option?: readonly string[];
  readonly replay?: string;
  readonly inputs?: string;
  readonly check: boolean;
}

export function registerCompile(program: Command): void {
  program
    .command("compile")
    .description(
      "build engines of an ONNX model into the repository, as often as you like, and check each one",
    )
    .argument("<model.onnx>", "the model's ONNX file")
    .requiredOption("--model <name>", "its name in the repository")
    .requiredOption(
      "--compiler <name>",
      "which compiler; crosscheck doctor lists them, with its name it tells its options",
    )
    .option("--repository <folder>", "model repository", "models")
    .option("--builds <n>", "independent builds", wholeNumber, 1)
    .option("--precision <name>", "fp32, fp16, int8: what the compiler builds", "fp32")
    .option("--option <key=value>", "of the compiler, such as trials=64; may be given again", collect)
    .option("--replay <file>", "build from a tuning log or timing cache instead of measuring")
    .option("--inputs <file.npz>", "one array per input, first axis the sample: to calibrate and check with")
    .option("--no-check", "do not run the new engines against the reference")
    .addHelpText("after", "\nThe same command again after Ctrl-C goes on where it stopped.")
    .action(compile);
}

async function compile(onnx: string, flags: CompileFlags): Promise<void> {
  const families = await readFamilies({ root: packageRoot(), environment: process.env });
  const compiler = families.compiler(flags.compiler);
  const request: BuildRequest = { ...flags, onnx, compiler, options: flags.option ?? [] };
  // Told before minutes of setting up.
  await checkRequest(request);
  if (flags.inputs !== undefined) await checkFile(flags.inputs, "--inputs");
  const view = createBuildProgress(process.stderr, systemClock.seconds);
  const stop = new AbortController();
  const interrupt = (): void => stop.abort();
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  const { inputs } = flags;
  const checker = flags.check
    ? createChecker({ families, inputs, clock: systemClock, log: silentLog })
    : undefined;
  try {
    await ensureCompiler(compiler, flags.precision, {
      onLine: (line) => view.print(line),
      signal: stop.signal,
    });
    await build(request, view, checker, stop.signal);
  } catch (error) {
    if (!(error instanceof BuildInterrupted)) throw error;
    view.print("Interrupted. Finished engines stay; the same command goes on where this one stopped.");
    process.exitCode = 1;
  } finally {
    await checker?.close();
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

async function build(
  request: BuildRequest,
  view: BuildProgress,
  checker: Checker | undefined,
  signal: AbortSignal,
): Promise<void> {
  const checks = new Map<string, EngineCheck>();
  const ids = await buildEngines(request, {
    clock: systemClock,
    signal,
    onEvent: (event) => show(event, view),
    verify: async (engine, model) => {
      if (checker === undefined) return;
      view.show(engine.id, { type: "progress", phase: "checking against the reference" });
      const check = await checker.check(engine, model);
      checks.set(engine.id, check);
      view.print(`${engine.id}: ${checkWords(check)}`);
    },
  });
  process.stdout.write(`${ids.join("\n")}\n`);
}

function show(event: BuildEvent, view: BuildProgress): void {
  switch (event.type) {
    case "resumed":
      view.print(`Going on: ${event.done.join(", ")} of ${event.builds} builds are done`);
      break;
    case "started":
      view.print(`${event.id}: build ${event.build} of ${event.builds}`);
      break;
    case "progress":
      view.show(event.id, event.progress);
      break;
    case "built": {
      const { buildSeconds, fingerprint, artifact } = event.manifest;
      const digests = `fingerprint ${fingerprint.slice(0, 12)}, artifact ${artifact.sha256.slice(0, 12)}`;
      view.print(`${event.id}: built in ${buildSeconds.toFixed(1)} s, ${digests}`);
      break;
    }
    case "placed":
      view.print(`${event.id}: in ${event.directory}`);
      break;
    default:
      event satisfies never;
  }
}

/** `against onnxruntime-1 on 32 samples: 0 % bit-equal, largest difference 4.2e-6, no changed decision` */
export function checkWords(check: EngineCheck): string {
  const { reference, samples, inputs, bitEqual, maxAbs, flips, diverged, invalid, reason } = check;
  const { undecided, undecidedReason } = check;
  const what = { given: "given", samples: "of the model's own", generated: "generated" }[inputs];
  const parts = [
    `${share(bitEqual, samples)} bit-equal`,
    `largest difference ${maxAbs === 0 ? "0" : maxAbs.toExponential(1)}`,
  ];
  if (undecided < samples) parts.push(flips === 0 ? "no changed decision" : `${flips} changed decisions`);
  if (undecided > 0) parts.push(`decisions not read on ${count(undecided, "input")} (${undecidedReason})`);
  if (diverged + invalid > 0) parts.push(`${diverged + invalid} outside the tolerance (${reason})`);
  return `against ${reference} on ${count(samples, "input")} (${what}): ${parts.join(", ")}`;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= 10_000) return value;
  throw new InvalidArgumentError("It must be a whole number from 1 to 10000.");
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
