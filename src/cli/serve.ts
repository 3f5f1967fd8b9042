import { type Command, InvalidArgumentError } from "commander";
import { readFamilies } from "../building/families.ts";
import { loadConfig, misspelledVariables } from "../config.ts";
import { packageRoot } from "../core/package-root.ts";
import { preferServing } from "../core/serving-thread.ts";
import { createGateway } from "../gateway.ts";
import { checkExposure } from "../http/access.ts";
import { listen } from "../http/listen.ts";
import { createLog } from "../log.ts";
import { setServingFlags } from "./v8-flags.ts";
import { packageVersion } from "./version.ts";

/** How long requests in flight may take to end after SIGTERM. */
const drainMs = 30_000;

export function registerServe(program: Command): void {
  program
    .command("serve")
    .description("serve every model of a repository over HTTP, the V2 inference protocol")
    .option("--config <file>", "settings (crosscheck.yaml); CROSSCHECK_CONFIG")
    .option("--repository <folder>", "model repository; default ./models")
    .option("--host <address>", "address to listen on; default 127.0.0.1")
    .option("--port <number>", "port to listen on, 0 for any; default 8000", port)
    .addHelpText(
      "after",
      "\nEvery key of crosscheck.yaml can be given as an environment variable: limits.bodyBytes is CROSSCHECK_LIMITS_BODY_BYTES.",
    )
    .action(serve);
}

async function serve(options: {
  config?: string;
  repository?: string;
  host?: string;
  port?: number;
}): Promise<void> {
  setServingFlags();
  const { config: file, ...flags } = options;
  const config = await loadConfig({ file, environment: process.env, flags });
  checkExposure({ host: config.host, keysFile: config.access.keysFile, open: config.access.open });
  const log = createLog(config.log);
  for (const { variable, meant } of misspelledVariables(process.env))
    log.warn({ variable, meant }, "unknown variable, so it sets nothing");
  // Now that the threads are there that are to stand back.
  const cores = preferServing();
  const families = await readFamilies({ root: packageRoot(), environment: process.env });
  for (const { family, error } of families.problems)
    log.warn({ family, error }, "engine family cannot be used");
  const gateway = await createGateway({ config, families, cores, version: packageVersion(), log });
  const { services } = gateway;
  const server = await listen(services, { config, version: packageVersion(), log }).catch(
    async (error: unknown) => {
      await gateway.close();
      throw error;
    },
  );
  process.stdout.write(`Crosscheck listens on ${server.url}; loading the models of ${config.repository}\n`);

  // Hosts and timers do not hold the process; it must live until the last host has been unloaded.
  const alive = setInterval(() => {}, 2 ** 30);
  const stop = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
  });
  const began = performance.now();
  try {
    const early = await Promise.race([gateway.start(), stop]);
    if (early === undefined) {
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      for (const line of await summary(services)) process.stdout.write(`  ${line}\n`);
      process.stdout.write(
        `Ready after ${seconds} s. The page: ${server.url}/  Metrics: ${server.url}/metrics\n`,
      );
    }
    const signal = await stop;
    log.info({ signal }, "stopping: no longer ready, answering what is in flight");
  } finally {
    const impatient = setTimeout(() => process.exit(1), drainMs + 5_000);
    impatient.unref();
    await server.close({ drainMs });
    await gateway.close();
    clearTimeout(impatient);
    clearInterval(alive);
  }
}

function port(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 65_535) return value;
  throw new InvalidArgumentError("Give a whole number from 0 to 65535.");
}

async function summary({
  models,
  engines,
}: Awaited<ReturnType<typeof createGateway>>["services"]): Promise<string[]> {
  const lines: string[] = [];
  for (const { name, state, reason } of await models.index()) {
    if (state !== "READY") lines.push(`${name}: ${state.toLowerCase()}${reason ? `, ${reason}` : ""}`);
    else {
      const list = await engines?.list(name);
      lines.push(
        `${name}: ${list?.active} is active; engines: ${list?.engines.map(({ id }) => id).join(", ")}`,
      );
    }
  }
  return lines;
}
