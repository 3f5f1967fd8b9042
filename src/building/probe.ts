import { z } from "zod";
import type { Compiler, Command, Families } from "./families.ts";
import { runCommand } from "./run-command.ts";

/** What a probe says of one compiler on this machine. */
export interface CompilerStatus {
  readonly available: boolean;
  readonly version?: string | undefined;
  readonly device?: { readonly kind: string; readonly name: string } | undefined;
  readonly reason?: string | undefined;
  readonly remedy?: string | undefined;
  /** Where precisions need more than the compiler itself. */
  readonly precisions?: Readonly<Record<string, CompilerStatus>> | undefined;
}

const statusShape = {
  available: z.boolean(),
  version: z.string().optional(),
  device: z.looseObject({ kind: z.string(), name: z.string() }).optional(),
  reason: z.string().optional(),
  remedy: z.string().optional(),
};
const answerSchema = z.looseObject({
  compilers: z.record(
    z.string(),
    z.looseObject({
      ...statusShape,
      precisions: z.record(z.string(), z.looseObject(statusShape)).optional(),
    }),
  ),
});

/** engines/README.md gives a probe 60 s. */
const limitMs = 60_000;

/** Runs every family's probe, all at once; a probe that fails costs only its own compilers. */
export async function probeCompilers(
  { compilers }: Pick<Families, "compilers">,
  { timeoutMs = limitMs }: { timeoutMs?: number } = {},
): Promise<ReadonlyMap<string, CompilerStatus>> {
  const runs = new Map<string, Promise<Probed>>();
  const statuses = await Promise.all(
    compilers.map(async (compiler): Promise<[string, CompilerStatus]> => {
      const key = JSON.stringify(compiler.probe);
      let run = runs.get(key);
      if (run === undefined) runs.set(key, (run = runProbe(compiler.probe, timeoutMs)));
      return [compiler.name, statusOf(compiler, await run)];
    }),
  );
  return new Map(statuses);
}

type Probed = { readonly statuses: Readonly<Record<string, CompilerStatus>> } | { readonly problem: string };

function statusOf(compiler: Compiler, probed: Probed): CompilerStatus {
  const remedy = setupWords(compiler);
  if ("problem" in probed) return { available: false, reason: probed.problem, remedy };
  const status = Object.hasOwn(probed.statuses, compiler.name) ? probed.statuses[compiler.name] : undefined;
  if (status === undefined) {
    return {
      available: false,
      reason: "its probe does not mention it",
      remedy: "mend the family's probe program",
    };
  }
  return status.available || status.remedy !== undefined ? status : { ...status, remedy };
}

async function runProbe(command: Command, timeoutMs: number): Promise<Probed> {
  const lines: string[] = [];
  const errors: string[] = [];
  try {
    const end = await runCommand(command, {
      timeoutMs,
      onLine: (line) => lines.push(line),
      onErrorLine: (line) => errors.push(line),
    });
    if (end.timedOut) return { problem: `its probe gave no answer within ${timeoutMs / 1000} s` };
    const last = lines.findLast((line) => line.trim() !== "") ?? "";
    if (end.code !== 0 || last === "") {
      const why = errors.findLast((line) => line.trim() !== "") ?? "it said nothing";
      return { problem: `its probe ended with ${end.code ?? end.signal}: ${why.trim()}` };
    }
    return { statuses: answerSchema.parse(JSON.parse(last)).compilers };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT")
      return { problem: `${command.file} is not there` };
    return { problem: `its probe's answer is not as engines/README.md says: ${(error as Error).message}` };
  }
}

/** How a person sets a compiler up, as far as family.yaml tells. */
export function setupWords({ name, family, setup }: Compiler): string {
  return setup === undefined ? `see engines/${family}/README.md` : `run \`npx crosscheck setup ${name}\``;
}
