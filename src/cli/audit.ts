import { access, constants, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { auditModel } from "../audit/offline/audit.ts";
import { renderReport } from "../audit/report/render.ts";
import type { Report } from "../audit/report/schema.ts";
import { readFamilies } from "../building/families.ts";
import { systemClock } from "../core/clock.ts";
import { GatewayError } from "../core/errors.ts";
import { silentLog } from "../core/log.ts";
import { packageRoot } from "../core/package-root.ts";
import { deviceState } from "../device-state.ts";
import { createDevices } from "../devices/devices.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createBuildProgress } from "./build-progress.ts";
import { packageVersion } from "./version.ts";

interface AuditFlags {
  readonly repository: string;
  readonly engines?: readonly string[];
  readonly inputs?: string;
  readonly runs: number;
  readonly streams?: number;
  readonly seed?: number;
  readonly out: string;
}

export function registerAudit(program: Command): void {
  program
    .command("audit")
    .description(
      "judge engines offline, on given inputs: which compiler for this model on this device, and why",
    )
    .argument("<name>", "the model in the repository")
    .option("--repository <folder>", "model repository", "models")
    .option("--engines <a,b>", "engines to judge; default all of the model", list)
    .option(
      "--inputs <path>",
      ".npz (one array per input, first axis the sample), a folder of images, or a folder of .npz files; default the model's labelled samples",
    )
    .option("--runs <n>", "timed requests per engine", wholeNumber, 2000)
    .option(
      "--streams <seconds>",
      "also find the most streams (a frame each deadline) that an engine holds; at most so long an engine",
      wholeNumber,
    )
    .option("--seed <n>", "of the random order; default by the clock", seed)
    .requiredOption("--out <folder>", "where report.html, report.md and report.json go")
    .addHelpText("after", "\nExit: 0 pass, 1 fail or failed, 2 usage, 3 inconclusive.")
    .action(audit);
}

const exitCodes: Readonly<Record<Report["verdict"], number>> = { pass: 0, fail: 1, inconclusive: 3 };
async function audit(name: string, flags: AuditFlags): Promise<void> {
  await openOut(flags.out);
  const stop = new AbortController();
  const interrupt = (): void =>
    stop.abort(new GatewayError("conflict", "interrupted; no report was written"));
  process.once("SIGINT", interrupt);
  process.once("SIGTERM", interrupt);
  try {
    const report = await run(name, flags, stop.signal);
    for (const format of ["json", "md", "html"] as const)
      await writeFile(join(flags.out, `report.${format}`), renderReport(report, format));
    process.stdout.write(`${summary(report)}\n${join(flags.out, "report.html")}\n`);
    process.exitCode = exitCodes[report.verdict];
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}

/** Before the audit, which may take an hour. @throws GatewayError `invalid`. */
async function openOut(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new GatewayError("invalid", `--out ${folder}: cannot be written to: ${why}`, { cause });
  }
}

async function run(name: string, flags: AuditFlags, signal: AbortSignal): Promise<Report> {
  const { repository, runs, inputs } = flags;
  const view = createBuildProgress(process.stderr, systemClock.seconds);
  const devices = createDevices({
    clock: systemClock,
    log: silentLog,
    metrics: createMetrics({ clock: systemClock }),
  });
  try {
    const report = await auditModel({
      repository,
      model: name,
      engines: flags.engines,
      inputs,
      runs,
      streamsSeconds: flags.streams ?? 0,
      seed: flags.seed ?? systemClock.now().getTime() % 2 ** 32,
      families: await readFamilies({ root: packageRoot(), environment: process.env }),
      deviceState: (engine) => deviceState(devices, engine),
      readings: () => devices.latest(),
      crosscheckVersion: packageVersion(),
      clock: systemClock,
      log: silentLog,
      onProgress: (progress) => view.show(name, { type: "progress", ...progress }),
      signal,
    });
    view.print(`${name}: done`);
    return report;
  } finally {
    devices.close();
  }
}

function summary({ verdict, verdictReason, ranking }: Report): string {
  const advice = ranking?.recommendation;
  const line = `${verdict.toUpperCase()}: ${verdictReason}`;
  if (advice === undefined) return line;
  return `${line}\n${advice.engine === null ? "No recommendation" : "Recommended"}: ${advice.reason}`;
}

function list(text: string): readonly string[] {
  const ids = text.split(",").map((id) => id.trim());
  if (ids.every((id) => id !== "")) return ids;
  throw new InvalidArgumentError("Give engine ids, with commas between.");
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1 && value <= 10_000_000) return value;
  throw new InvalidArgumentError("It must be a whole number from 1 to 10000000.");
}

function seed(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value < 2 ** 32) return value;
  throw new InvalidArgumentError("It must be a whole number from 0 to 4294967295.");
}
