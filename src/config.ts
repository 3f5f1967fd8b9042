import { closest, distance } from "fastest-levenshtein";
import { z } from "zod";
import { GatewayError } from "./core/errors.ts";
import { checkValue, readYamlFile } from "./core/yaml-file.ts";

const mebibyte = 1024 * 1024;

/** `crosscheck.yaml`. Every leaf has an environment variable: CROSSCHECK_ and its path in upper snake case. */
export const configSchema = z.strictObject({
  host: z.string().min(1).default("127.0.0.1"),
  port: z.int().min(0).max(65535).default(8000),
  repository: z.string().min(1).default("./models"),
  store: z
    .strictObject({
      kind: z.enum(["file", "redis"]).default("file"),
      path: z.string().min(1).default("./var"),
      url: z.string().optional(),
    })
    .default({ kind: "file", path: "./var" })
    .refine(
      ({ kind, url }) => kind !== "redis" || url !== undefined,
      "kind redis needs url, as in redis://127.0.0.1:6379",
    ),
  access: z
    .strictObject({
      keysFile: z.string().min(1).optional(),
      /** Says that an address beyond loopback may be served without keys. */
      open: z.boolean().default(false),
    })
    .default({ open: false }),
  tls: z.strictObject({ cert: z.string().min(1), key: z.string().min(1) }).optional(),
  limits: z
    .strictObject({
      /** Of a request body, packed or unpacked. */
      bodyBytes: z
        .int()
        .positive()
        .default(64 * mebibyte),
      /** Requests of one model that are worked on at once; further ones queue. */
      concurrency: z.int().positive().default(64),
      /** Requests of one model that may wait; a further one is answered 429. */
      queue: z.int().nonnegative().default(256),
    })
    .default({ bodyBytes: 64 * mebibyte, concurrency: 64, queue: 256 }),
  memoryBudgetBytes: z.int().positive().optional(),
  log: z
    .strictObject({
      level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
      /** One line a request. */
      requests: z.boolean().default(false),
    })
    .default({ level: "info", requests: false }),
  tracing: z
    .strictObject({
      /** An OTLP/HTTP collector; tracing is off without it. */
      otlpUrl: z.url({ protocol: /^https?$/ }).optional(),
      /** Share of requests traced, of those that come without a traceparent of their own. */
      sampleRatio: z.number().min(0).max(1).default(1),
    })
    .default({ sampleRatio: 1 }),
});

export type Config = z.output<typeof configSchema>;

/** The settings in force: flags over environment over file over defaults. */
export async function loadConfig(sources: {
  readonly file: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly flags: Readonly<Record<string, unknown>>;
}): Promise<Config> {
  const { environment, flags } = sources;
  const file = sources.file ?? environment["CROSSCHECK_CONFIG"];
  const fromFile = file === undefined ? undefined : await readYamlFile(file);
  const merged = checkValue(structuredClone(fromFile?.value), z.looseObject({}), file ?? "settings");
  /** Where a setting that is not the file's comes from. */
  const others = new Map<string, string>();
  for (const { path, variable, kind } of settings()) {
    const text = environment[variable];
    if (text === undefined || text === "") continue;
    assign(merged, path, fromText(text, kind, variable));
    others.set(path.join("."), variable);
  }
  for (const [key, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    assign(merged, [key], value);
    others.set(key, `--${key}`);
  }
  return checkValue(
    merged,
    configSchema,
    file ?? "settings",
    (path) => others.get(path.join(".")) ?? fromFile?.placeOf(path),
  );
}

/** Variables that are nearly a setting's, each with the setting that may have been meant: they would do nothing. */
export function misspelledVariables(
  environment: Readonly<Record<string, string | undefined>>,
): { readonly variable: string; readonly meant: string }[] {
  const known = [...settings().map(({ variable }) => variable), "CROSSCHECK_CONFIG"];
  return Object.keys(environment).flatMap((variable) => {
    if (!variable.startsWith("CROSSCHECK_") || known.includes(variable)) return [];
    const meant = closest(variable, known);
    return distance(variable, meant) <= 2 ? [{ variable, meant }] : [];
  });
}

type Kind = "string" | "number" | "boolean";

/** Every leaf of the schema with its environment variable. */
export function settings(): { path: readonly string[]; variable: string; kind: Kind }[] {
  return leaves(z.toJSONSchema(configSchema, { io: "input" }) as JsonSchema, []);
}

interface JsonSchema {
  readonly type?: string | undefined;
  readonly properties?: Readonly<Record<string, JsonSchema>> | undefined;
}

function leaves(schema: JsonSchema, path: readonly string[]): ReturnType<typeof settings> {
  if (schema.properties)
    return Object.entries(schema.properties).flatMap(([key, inner]) => leaves(inner, [...path, key]));
  const snake = path.map((part) => part.replaceAll(/[A-Z]/g, (letter) => `_${letter}`)).join("_");
  const kind = schema.type === "integer" || schema.type === "number" ? "number" : schema.type;
  return [{ path, variable: `CROSSCHECK_${snake.toUpperCase()}`, kind: kind as Kind }];
}

function fromText(text: string, kind: Kind, variable: string): unknown {
  if (kind === "string") return text;
  if (kind === "boolean") {
    if (text === "true" || text === "1") return true;
    if (text === "false" || text === "0") return false;
    throw new GatewayError("invalid", `${variable} is "${text}"; give true or false`);
  }
  const number = Number(text);
  if (Number.isNaN(number)) throw new GatewayError("invalid", `${variable} is "${text}"; give a number`);
  return number;
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  const inner = target[key];
  const next = typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : {};
  target[key] = next;
  assign(next, rest, value);
}
