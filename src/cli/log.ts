import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { verifyLog } from "../audit/log/verify.ts";
import { loadConfig } from "../config.ts";
import { GatewayError } from "../core/errors.ts";
import { knownDecisions } from "../store/known-decisions.ts";

export function registerLog(program: Command): void {
  program
    .command("log")
    .description("the decision log")
    .command("verify")
    .description(
      "check the hash chain: finds any changed, missing or reordered line, and an end that was cut off",
    )
    .option("--config <file>", "settings (crosscheck.yaml) with the gateway's store; CROSSCHECK_CONFIG")
    .option("--store <folder>", "store.path of the gateway; CROSSCHECK_STORE_PATH, default ./var")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
A cut-off end leaves a chain that is whole; it is found by what else knows of decisions: the store, which has where the
log ends and the models' state, and, with store.kind redis, the last entry of the stream. The chain has no key: whoever can write the folder, the
state and Redis can also seal a changed log anew to its end. Keep the last hash that is printed somewhere else; as long
as the log has a line with that hash and the chain is whole, nothing up to that line was changed.`,
    )
    .action(verify);
}

async function verify(options: { config?: string; store?: string; json?: true }): Promise<void> {
  const settings = await loadConfig({ file: options.config, environment: process.env, flags: {} });
  const store = { ...settings.store, ...(options.store === undefined ? {} : { path: options.store }) };
  const directory = join(store.path, "log");
  // Before the log is read: a gateway that runs meanwhile may add to both, and writes the log first.
  const { known, unasked } = await knownDecisions(store);
  if (known.length === 0 && !(await stat(directory).catch(() => undefined)))
    throw new GatewayError(
      "notFound",
      `there is no decision log in "${store.path}"; name the gateway's store.path with --store, or its settings with --config`,
    );
  const check = await verifyLog(directory, known);
  if (options.json) process.stdout.write(`${JSON.stringify({ ...check, known, unasked }, null, 2)}\n`);
  else {
    for (const { file, line, problem } of check.faults) process.stdout.write(`${file}:${line}: ${problem}\n`);
    const verdict = check.faults.length === 0 ? "the chain is whole" : `${check.faults.length} fault(s)`;
    process.stdout.write(
      `${check.entries} decisions in ${check.files} file(s): ${verdict}; last hash ${check.lastHash}\n`,
    );
    if (unasked !== undefined) process.stdout.write(`${unasked}\n`);
  }
  if (check.faults.length > 0) process.exitCode = 1;
}
