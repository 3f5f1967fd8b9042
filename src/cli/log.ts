import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { verifyLog } from "../audit/log/verify.ts";
import { GatewayError } from "../core/errors.ts";

export function registerLog(program: Command): void {
  program
    .command("log")
    .description("the decision log")
    .command("verify")
    .description("check the hash chain: finds any changed, missing or reordered line")
    .option("--store <folder>", "store.path of the gateway", "./var")
    .option("--json", "print the result as JSON")
    .action(verify);
}

async function verify({ store, json }: { store: string; json?: true }): Promise<void> {
  const directory = join(store, "log");
  if (!(await stat(directory).catch(() => undefined)))
    throw new GatewayError(
      "notFound",
      `there is no decision log in "${store}"; name the gateway's store.path with --store`,
    );
  const check = await verifyLog(directory);
  if (json) process.stdout.write(`${JSON.stringify(check, null, 2)}\n`);
  else {
    for (const { file, line, problem } of check.faults) process.stdout.write(`${file}:${line}: ${problem}\n`);
    const verdict = check.faults.length === 0 ? "the chain is whole" : `${check.faults.length} fault(s)`;
    process.stdout.write(
      `${check.entries} decisions in ${check.files} file(s): ${verdict}; last hash ${check.lastHash}\n`,
    );
  }
  if (check.faults.length > 0) process.exitCode = 1;
}
