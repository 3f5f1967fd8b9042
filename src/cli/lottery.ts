import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { chooseInputs } from "../building/choose-inputs.ts";
import { type Families, readFamilies } from "../building/families.ts";
import { type LotteryEngine, type LotteryOptions, runLottery } from "../building/lottery.ts";
import { lotteryGroups, replayCommand } from "../building/lottery-groups.ts";
import { type ModelEngines, readModelEngines } from "../building/model-engines.ts";
import { createRandom } from "../compare/statistics/random.ts";
import { systemClock } from "../core/clock.ts";
import { silentLog } from "../core/log.ts";
import { packageRoot } from "../core/package-root.ts";
import { createBuildProgress } from "./build-progress.ts";
import { checkFile } from "./check-file.ts";
import { type LotteryReport, lotteryText } from "./lottery-text.ts";

interface LotteryFlags {
  readonly repository: string;
  readonly compiler?: string;
  readonly inputs?: string;
  readonly samples: number;
  readonly runs: number;
  readonly json?: boolean;
}

export function registerLottery(program: Command): void {
  program
    .command("lottery")
    .description(
      "how much the builds of one compiler differ in output and in speed, and how to replay the best",
    )
    .argument("<name>", "the model in the repository")
    .option("--repository <folder>", "model repository", "models")
    .option("--compiler <name>", "builds of this compiler only")
    .option(
      "--inputs <file.npz>",
      "one array per input, first axis the sample; default the model's clean samples",
    )
    .option("--samples <n>", "inputs compared at most", wholeNumber, 100)
    .option("--runs <n>", "timed requests per build", wholeNumber, 1000)
    .option("--json", "the whole report as JSON")
    .action(lottery);
}

async function lottery(name: string, flags: LotteryFlags): Promise<void> {
  const families = await readFamilies({ root: packageRoot(), environment: process.env });
  if (flags.compiler !== undefined) families.compiler(flags.compiler);
  if (flags.inputs !== undefined) await checkFile(flags.inputs, "--inputs");
  const found = await readModelEngines(flags.repository, name);
  const groups = lotteryGroups(
    found.engines.filter(
      ({ manifest }) => flags.compiler === undefined || manifest.compiler.name === flags.compiler,
    ),
  );
  const drawn = groups.filter((group) => group.length > 1);
  if (drawn.length === 0) {
    process.stderr.write(`crosscheck: ${nothingToCompare(name, groups, flags.compiler)}\n`);
    process.exitCode = 3;
    return;
  }
  const view = createBuildProgress(process.stderr, systemClock.seconds);
  const reports: LotteryReport[] = [];
  for (const group of drawn)
    reports.push(
      await draw(group, found, families, flags, (progress) =>
        view.show(name, { type: "progress", ...progress }),
      ),
    );
  view.print(`${name}: done`);
  const text =
    flags.json === true ? JSON.stringify({ model: name, lotteries: reports }, null, 2) : lotteryText(reports);
  process.stdout.write(`${text}\n`);
}

async function draw(
  engines: readonly LotteryEngine[],
  { model, directory }: ModelEngines,
  families: Families,
  flags: LotteryFlags,
  onProgress: LotteryOptions["onProgress"],
): Promise<LotteryReport> {
  const { task, tolerance, detection } = model;
  const result = await runLottery(engines, {
    families,
    compare: { task, tolerance, detection },
    runs: flags.runs,
    inputsFor: async (info) => {
      const place = { directory, config: model };
      return (await chooseInputs(place, info.inputs, { given: flags.inputs, most: flags.samples })).samples;
    },
    random: createRandom(systemClock.now().getTime()),
    clock: systemClock,
    log: silentLog,
    onProgress,
  });
  const best = engines.find((engine) => engine.id === result.best) as LotteryEngine;
  const paths = { repository: flags.repository, modelFile: join(directory, "model.onnx") };
  const replay = replayCommand(best, families.compiler(result.compiler), paths);
  return {
    ...result,
    replay: "command" in replay ? replay.command : null,
    replayNote: "why" in replay ? replay.why : null,
  };
}

function nothingToCompare(
  name: string,
  groups: readonly (readonly LotteryEngine[])[],
  compiler?: string,
): string {
  const which = compiler === undefined ? "" : ` of ${compiler}`;
  const ids = groups.flat().map((engine) => engine.id);
  const there =
    ids.length === 0 ? `model "${name}" has no engines${which}` : `${ids.join(", ")}: no two are built alike`;
  return `${there}; make builds with: npx crosscheck compile MODEL.onnx --model ${name} --compiler ${compiler ?? "C"} --builds 5`;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= 10_000_000) return value;
  throw new InvalidArgumentError("It must be a whole number of at least 1.");
}
