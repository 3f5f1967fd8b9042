import type { Command } from "commander";
import { GatewayError } from "../core/errors.ts";
import type { EngineList } from "../http/services.ts";
import { httpUrl } from "./url.ts";

interface Target {
  readonly url: string;
  readonly key: string | undefined;
}

type EngineRow = EngineList["engines"][number];

/** Commands that talk to a running gateway. */
export function registerRemote(program: Command): void {
  const remote = (name: string, description: string) =>
    program
      .command(name)
      .description(description)
      .option(
        "--url <url>",
        "the gateway; CROSSCHECK_URL",
        httpUrl,
        process.env["CROSSCHECK_URL"] ?? "http://127.0.0.1:8000",
      )
      .option("--json", "print the answer as JSON")
      .addHelpText("after", "\nThe API key, where the gateway wants one, is taken from CROSSCHECK_API_KEY.");

  remote("status", "what a running gateway serves, and how it is").action(status);
  remote("engines <model>", "a model's engines with state and role").action(engines);
  remote("switch <model> <engine>", "make an engine the active one; it is loaded first when it is not")
    .requiredOption("--reason <text>", "why; it stands in the decision log")
    .action((model: string, engine: string, options: Options & { reason: string }) =>
      change(options, `/v1/models/${encodeURIComponent(model)}/switch`, { engine, reason: options.reason }),
    );
  remote("rollback <model>", "back to the engine that was active before")
    .requiredOption("--reason <text>", "why; it stands in the decision log")
    .action((model: string, options: Options & { reason: string }) =>
      change(options, `/v1/models/${encodeURIComponent(model)}/rollback`, { reason: options.reason }),
    );
}

interface Options {
  readonly url: string;
  readonly json?: true;
}

async function status(options: Options): Promise<void> {
  const target = targetOf(options);
  const server = await call<{ name: string; version: string }>(target, "/v2");
  const ready = await fetchFrom(target, "/v2/health/ready");
  const index = await call<{ name: string; state: string; reason: string }[]>(
    target,
    "/v2/repository/index",
    {},
  );
  const models = await Promise.all(
    index.map(async ({ name, state, reason }) => ({
      name,
      state,
      reason,
      ...(state === "READY"
        ? await call<{ active: string; engines: EngineRow[] }>(target, `/v1/models/${name}/engines`)
        : { active: "", engines: [] }),
    })),
  );
  if (options.json) return print({ ...server, ready: ready.status === 200, models });
  process.stdout.write(
    `${server.name} ${server.version} at ${target.url}: ${ready.status === 200 ? "ready" : "not ready"}\n`,
  );
  for (const { name, state, reason, active, engines: rows } of models)
    process.stdout.write(
      state === "READY"
        ? `  ${name}: ${active} is active, ${rows.length} engines\n`
        : `  ${name}: ${state.toLowerCase()}${reason ? `, ${reason}` : ""}\n`,
    );
}

async function engines(model: string, options: Options): Promise<void> {
  const answer = await call<{ engines: EngineRow[] }>(
    targetOf(options),
    `/v1/models/${encodeURIComponent(model)}/engines`,
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
  const answer = await call<{ model: string; from: string; to: string; decision: { seq: number } }>(
    targetOf(options),
    path,
    body,
  );
  if (options.json) return print(answer);
  process.stdout.write(`${answer.model}: ${answer.from} -> ${answer.to} (decision ${answer.decision.seq})\n`);
}

function targetOf({ url }: Options): Target {
  return { url: httpUrl(url), key: process.env["CROSSCHECK_API_KEY"] };
}

/** @throws GatewayError with the gateway's own message, or with how to reach it. */
async function call<T>(target: Target, path: string, body?: object): Promise<T> {
  const reply = await fetchFrom(target, path, body);
  const answer = (await reply.json().catch(() => ({}))) as T & { error?: string };
  if (!reply.ok)
    throw new GatewayError(
      "conflict",
      `${target.url} answered ${reply.status}: ${answer.error ?? "no reason given"}`,
    );
  return answer;
}

async function fetchFrom({ url, key }: Target, path: string, body?: object): Promise<Response> {
  const headers = {
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  };
  const init = body === undefined ? { headers } : { headers, method: "POST", body: JSON.stringify(body) };
  try {
    return await fetch(url + path, init);
  } catch (cause) {
    const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new GatewayError(
      "unavailable",
      `no gateway answers at ${url} (${why}); start one with crosscheck serve, or name another with --url`,
      { cause },
    );
  }
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
