import { Command, CommanderError, InvalidArgumentError } from "commander";
import { GatewayError } from "../core/errors.ts";
import { registerAudit } from "./audit.ts";
import { registerBench } from "./bench.ts";
import { registerCompile } from "./compile.ts";
import { registerDoctor } from "./doctor.ts";
import { registerHostCheck } from "./host-check.ts";
import { registerLog } from "./log.ts";
import { registerLottery } from "./lottery.ts";
import { registerRemote } from "./remote.ts";
import { registerServe } from "./serve.ts";
import { registerSetup } from "./setup.ts";
import { packageVersion } from "./version.ts";

/** Faults of what was asked for, not of what was done. */
const usageFaults: ReadonlySet<string> = new Set(["invalid", "notFound", "tooLarge"]);

/** Exit codes of every command: 0 done, 1 failed, 2 usage, 3 inconclusive. */
export async function main(args: readonly string[]): Promise<void> {
  leaveQuietly();
  const program = new Command("crosscheck")
    .description("serve models through compiled engines, audit them on live traffic, switch on the evidence")
    .version(packageVersion())
    .showSuggestionAfterError()
    .showHelpAfterError("(add --help for what there is)")
    .exitOverride();
  registerServe(program);
  registerRemote(program);
  registerLog(program);
  registerBench(program);
  registerSetup(program);
  registerCompile(program);
  registerLottery(program);
  registerAudit(program);
  registerDoctor(program);
  registerHostCheck(program);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    // Found in a variable, not among the arguments, so nobody has said it yet.
    if (error instanceof InvalidArgumentError) process.stderr.write(`error: ${error.message}\n`);
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else {
      process.stderr.write(`crosscheck: ${error instanceof Error ? error.message : String(error)}\n`);
      if (!(error instanceof GatewayError) && process.env["CROSSCHECK_LOG_LEVEL"] === "debug")
        console.error(error);
      process.exitCode = error instanceof GatewayError && usageFaults.has(error.code) ? 2 : 1;
    }
  }
}

let leaving = false;

/** Whoever reads the output may stop: `| head`. A command that has to put something away is told by a signal. */
function leaveQuietly(): void {
  if (leaving) return;
  leaving = true;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    if (process.listenerCount("SIGTERM") > 0) process.kill(process.pid, "SIGTERM");
    else process.exit();
  });
}
