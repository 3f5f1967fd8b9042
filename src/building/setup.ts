import { GatewayError } from "../core/errors.ts";
import type { Compiler } from "./families.ts";
import { type CompilerStatus, probeCompilers, setupWords } from "./probe.ts";
import { runCommand } from "./run-command.ts";

/**
 * Makes sure that this machine can build with a compiler at a precision; runs the family's setup when the probe says
 * that something is missing.
 *
 * @throws GatewayError `conflict` with what is missing and its remedy.
 */
export async function ensureCompiler(
  compiler: Compiler,
  precision: string,
  { onLine, signal }: { onLine: (line: string) => void; signal?: AbortSignal | undefined },
): Promise<void> {
  const before = await problemOf(compiler, precision);
  if (before === undefined) return;
  if (compiler.setup !== undefined) {
    onLine(`${compiler.name} is not set up (${before.reason}); setting up`);
    await runSetup(compiler, { onLine, signal });
  }
  const problem = compiler.setup === undefined ? before : await problemOf(compiler, precision);
  if (problem === undefined) return;
  throw new GatewayError(
    "conflict",
    `${compiler.name} at ${precision} cannot be built here: ${problem.reason ?? "its probe says no"}; ` +
      (problem.remedy ?? setupWords(compiler)),
  );
}

/** Runs a family's setup for one compiler; false when it ended with an error, which its last line tells. */
async function runSetup(
  compiler: Compiler,
  { onLine, signal }: { onLine: (line: string) => void; signal?: AbortSignal | undefined },
): Promise<boolean> {
  if (compiler.setup === undefined) return true;
  const end = await runCommand(compiler.setup, {
    args: [compiler.name],
    onLine,
    onErrorLine: onLine,
    signal,
  });
  return end.code === 0;
}

async function problemOf(compiler: Compiler, precision: string): Promise<CompilerStatus | undefined> {
  const status = (await probeCompilers({ compilers: [compiler] })).get(compiler.name);
  if (status === undefined || !status.available) return status ?? { available: false };
  const own = status.precisions?.[precision];
  return own === undefined || own.available ? undefined : own;
}
