import { type Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import { createGatewayClient, type GatewayClient } from "./gateway-client.ts";
import { seconds } from "./seconds.ts";
import { httpUrl } from "./url.ts";

/** What the commands read of the answers; the rest is passed on. */
const serverSchema = z.looseObject({ name: z.string(), version: z.string() });
const indexSchema = z.array(
  z.looseObject({ name: z.string(), state: z.string(), reason: z.string().default("") }),
);
const enginesSchema = z.looseObject({
  active: z.string().nullish(),
  engines: z.array(
    z.looseObject({
      id: z.string(),
      role: z.string(),
      state: z.string(),
      precision: z.string(),
      artifactSha256: z.string(),
      reason: z.string().nullish(),
    }),
  ),
});
const metricsSchema = z.looseObject({ storeTrouble: z.string().nullable() });
const changeSchema = z.looseObject({
  model: z.string(),
  from: z.string().nullable(),
  to: z.string(),
  decision: z.looseObject({ seq: z.number() }),
});

/** A switch may have to load a large engine first. */
const loadingSeconds = 300;

/** Commands that talk to a running gateway. */
export function registerRemote(program: Command): void {
  const remote = (name: string, description: string, timeoutSeconds = 30) =>
    program
      .command(name)
      .description(description)
      .option(
        "--url <url>",
        "the gateway; CROSSCHECK_URL",
        httpUrl,
        process.env["CROSSCHECK_URL"] ?? "http://127.0.0.1:8000",
      )
      .option("--timeout <seconds>", "for each answer", seconds, timeoutSeconds)
      .option("--json", "print the answer as JSON")
      .addHelpText("after", "\nThe API key, where the gateway wants one, is taken from CROSSCHECK_API_KEY.");

  remote("status", "what a running gateway serves, and how it is").action(status);
  remote("engines <model>", "a model's engines with state and role").action(engines);
  remote(
    "switch <model> <engine>",
    "make an engine the active one, loaded first when it is not; named again, it is held against automatic decisions",
    loadingSeconds,
  )
    .requiredOption("--reason <text>", "why; it stands in the decision log", reason)
    .action((model: string, engine: string, options: Options & { reason: string }) =>
      change(options, `/v1/models/${encodeURIComponent(model)}/switch`, { engine, reason: options.reason }),
    );
  remote("rollback <model>", "back to the engine that was active before", loadingSeconds)
    .requiredOption("--reason <text>", "why; it stands in the decision log", reason)
    .action((model: string, options: Options & { reason: string }) =>
      change(options, `/v1/models/${encodeURIComponent(model)}/rollback`, { reason: options.reason }),
    );
}

interface Options {
  readonly url: string;
  readonly timeout: number;
  readonly json?: true;
}

async function status(options: Options): Promise<void> {
  const client = clientOf(options);
  const server = await client.call("/v2", serverSchema);
  const ready = await client.ask("/v2/health/ready");
  const index = await client.call("/v2/repository/index", indexSchema, {});
  const models = await Promise.all(
    index.map(async ({ name, state, reason }) => ({
      name,
      state,
      reason,
      ...(state === "READY"
        ? await client.call(`/v1/models/${name}/engines`, enginesSchema)
        : { active: "", engines: [] }),
    })),
  );
  const storeTrouble = (await client.event("/v1/events", "metrics", metricsSchema))?.storeTrouble;
  if (options.json) return print({ ...server, ready: ready.status === 200, storeTrouble, models });
  process.stdout.write(
    `${server.name} ${server.version} at ${client.url}: ${ready.status === 200 ? "ready" : "not ready"}\n`,
  );
  if (storeTrouble) process.stdout.write(`  store: ${storeTrouble}\n`);
  for (const { name, state, reason, active, engines: rows } of models)
    process.stdout.write(
      state === "READY"
        ? `  ${name}: ${active} is active, ${rows.length} engines\n`
        : `  ${name}: ${state.toLowerCase()}${reason ? `, ${reason}` : ""}\n`,
    );
}

async function engines(model: string, options: Options): Promise<void> {
  const answer = await clientOf(options).call(
    `/v1/models/${encodeURIComponent(model)}/engines`,
    enginesSchema,
  );
  if (options.json) return print(answer);
  const rows = answer.engines.map((row) => [
    row.id,
    row.role,
    row.state,
    row.precision,
    row.artifactSha256.slice(0, 12),
    row.reason ?? "",
  ]);
  const table = [["ENGINE", "ROLE", "STATE", "PRECISION", "ARTIFACT", "REASON"], ...rows];
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => (row[column] ?? "").length))) ?? [];
  for (const row of table)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
}

async function change(options: Options, path: string, body: object): Promise<void> {
  const answer = await clientOf(options).call(path, changeSchema, body);
  if (options.json) return print(answer);
  const { model, from, to, decision } = answer;
  const words =
    from === to
      ? `${to} stays active, held against automatic decisions for the cooldown`
      : `${from} -> ${to}`;
  process.stdout.write(`${model}: ${words} (decision ${decision.seq})\n`);
}

function clientOf({ url, timeout }: Options): GatewayClient {
  return createGatewayClient({
    url: httpUrl(url),
    key: process.env["CROSSCHECK_API_KEY"],
    timeoutSeconds: timeout,
  });
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

function reason(text: string): string {
  if (text.trim() !== "") return text;
  throw new InvalidArgumentError("Say why; it is read later.");
}
