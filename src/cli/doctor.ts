import type { Command } from "commander";
import { type Compiler, type Families, readFamilies } from "../building/families.ts";
import { inspectMachine, type MachineFact } from "../building/machine.ts";
import { type CompilerStatus, probeCompilers } from "../building/probe.ts";
import { packageRoot } from "../core/package-root.ts";
import { table } from "./table.ts";

/** Serving needs this one; the others widen the choice. */
const leastCompiler = "onnxruntime";

export function registerDoctor(program: Command): void {
  program
    .command("doctor")
    .description("what this machine can run: compilers, runtimes, GPU, each with its remedy")
    .argument("[compiler]", "tell what this one builds and its options instead")
    .option("--json", "the same as JSON")
    .action(doctor);
}

async function doctor(name: string | undefined, { json = false }: { json?: boolean }): Promise<void> {
  const families = await readFamilies({ root: packageRoot(), environment: process.env });
  if (name !== undefined) {
    const compiler = families.compiler(name);
    const { description, precisions, options } = compiler;
    const facts = { name, description, precisions, options };
    process.stdout.write(`${json ? JSON.stringify(facts, null, 2) : compilerText(compiler)}\n`);
    return;
  }
  const [machine, statuses] = await Promise.all([inspectMachine(), probeCompilers(families)]);
  const text = json
    ? JSON.stringify(
        { machine, compilers: Object.fromEntries(statuses), problems: families.problems },
        null,
        2,
      )
    : report(machine, statuses, families.problems);
  process.stdout.write(`${text}\n`);
  const node = machine.find((fact) => fact.name === "Node");
  if (node?.ok !== true || statuses.get(leastCompiler)?.available !== true) process.exitCode = 1;
}

/** Two tables and, below, a remedy for each thing that is missing. */
export function report(
  machine: readonly MachineFact[],
  statuses: ReadonlyMap<string, CompilerStatus>,
  problems: Families["problems"],
): string {
  const remedies: string[] = [];
  const machineRows = machine.map(({ name, ok, detail, neededFor, remedy }) => {
    if (remedy !== undefined) remedies.push(`${name}: ${remedy}`);
    return [ok ? "yes" : "no", name, detail, neededFor];
  });
  const compilerRows = [...statuses].map(([name, status]) => {
    remedies.push(...remediesOf(name, status));
    const lacking = Object.entries(status.precisions ?? {}).filter(([, own]) => !own.available);
    const without =
      lacking.length === 0 ? "" : ` (not ${lacking.map(([precision]) => precision).join(", ")})`;
    return [
      status.available ? "yes" : "no",
      name,
      (status.version ?? "") + without,
      status.device?.name ?? "",
    ];
  });
  for (const { family, error } of problems) remedies.push(`engines/${family}: ${error}`);
  return [
    table([["", "machine", "found", "for"], ...machineRows]),
    table([["", "compiler", "version", "device"], ...compilerRows]),
    remedies.length === 0
      ? "Nothing is missing."
      : `Missing:\n${remedies.map((line) => `- ${line}`).join("\n")}`,
  ].join("\n\n");
}

/** What `compile --option` takes. */
function compilerText({
  name,
  description,
  precisions,
  options,
}: Pick<Compiler, "name" | "description" | "precisions" | "options">): string {
  const rows = Object.entries(options).map(([option, declaration]) => [
    option,
    declaration.type === "string" && declaration.values !== undefined
      ? declaration.values.join(" | ")
      : declaration.type,
    String(declaration.default ?? ""),
    declaration.description,
  ]);
  const head = `${name}: ${description}\nprecisions: ${precisions.join(", ")}`;
  return rows.length === 0 ? head : `${head}\n\n${table([["option", "values", "default", ""], ...rows])}`;
}

function remediesOf(name: string, status: CompilerStatus): string[] {
  const words = ({ reason = "not available", remedy }: CompilerStatus): string =>
    remedy === undefined ? reason : `${reason}; ${remedy}`;
  if (!status.available) return [`${name}: ${words(status)}`];
  return Object.entries(status.precisions ?? {})
    .filter(([, own]) => !own.available)
    .map(([precision, own]) => `${name} at ${precision}: ${words(own)}`);
}
