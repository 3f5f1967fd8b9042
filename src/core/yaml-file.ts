import { readFile } from "node:fs/promises";
import { closest, distance } from "fastest-levenshtein";
import { LineCounter, type Node, parseDocument } from "yaml";
import { z } from "zod";
import { GatewayError } from "./errors.ts";

/** Far above any hand-written file; keeps a wrong path from being read into memory whole. */
const maxCharacters = 4_000_000;

/**
 * Reads a YAML file (1.2, which JSON is part of) and checks it.
 *
 * @throws GatewayError `notFound` when there is no such file, `invalid` with file, line, key, value and remedy
 * when it does not parse or does not fit; every fault of the file is named, not the first alone.
 */
export async function parseYamlFile<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S>> {
  return parseYaml(await readText(path), schema, path);
}

/** The same for a text that has been read already; `name` stands for it in messages. */
export function parseYaml<S extends z.ZodType>(text: string, schema: S, name: string): z.output<S> {
  const { value, placeOf } = readValue(text, name);
  return checkValue(value, schema, name, placeOf);
}

/** A YAML file as it is, for values that come together from several places: check them with `checkValue`. */
export async function readYamlFile(path: string): Promise<YamlValue> {
  return readValue(await readText(path), path);
}

interface YamlValue {
  readonly value: unknown;
  /** `crosscheck.yaml:12`; undefined for what the file does not say. */
  readonly placeOf: PlaceOf;
}

type PlaceOf = (path: readonly PropertyKey[]) => string | undefined;

function readValue(text: string, name: string): YamlValue {
  if (text.length > maxCharacters) {
    throw new GatewayError(
      "invalid",
      `${name}: ${text.length} characters is no configuration file; check the path`,
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: true });
  const [broken] = document.errors;
  if (broken !== undefined) {
    throw new GatewayError("invalid", `${name}: ${broken.message.trim()}`, { cause: broken });
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    // Aliases that point nowhere or multiply without end are found here only.
    throw new GatewayError("invalid", `${name}: ${(error as Error).message}`, { cause: error });
  }
  return {
    value,
    placeOf: (path) => {
      const node = document.getIn(path, true) as Node | null | undefined;
      return node?.range ? `${name}:${lines.linePos(node.range[0]).line}` : undefined;
    },
  };
}

/** Checks a value that did not come from a text, with the same messages; `placeOf` tells where a part of it is from. */
export function checkValue<S extends z.ZodType>(
  value: unknown,
  schema: S,
  name: string,
  placeOf: PlaceOf = () => undefined,
): z.output<S> {
  // An empty file is an empty mapping, so that what is missing is named.
  const result = schema.safeParse(value ?? {}, { reportInput: true, error: explain });
  if (result.success) return result.data;
  const faults = result.error.issues.map((issue) => {
    const path = [...issue.path];
    const part = issue.code === "unrecognized_keys" ? [...path, ...issue.keys.slice(0, 1)] : path;
    const where = placeOf(part) ?? placeOf(part.slice(0, -1)) ?? name;
    const key = keyPath(path);
    // A schema's own words ("must be ...") do not hold the value.
    const value =
      issue.message.startsWith("must ") && issue.code !== "invalid_value" ? `${show(issue.input)} ` : "";
    return `${where}: ${key === "" ? "" : `${key}: `}${value}${issue.message}`;
  });
  throw new GatewayError("invalid", faults.join("\n"), { cause: result.error });
}

/** `did you mean "x"?` when one of the known names is near, else `known: ` and the list of them. */
export function nearestHint(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  return near === undefined ? `known: ${known.join(", ")}` : `did you mean "${near}"?`;
}

function nearest(word: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  const candidate = closest(word, [...known]);
  const farthest = Math.max(2, word.length / 3);
  return distance(word.toLowerCase(), candidate.toLowerCase()) <= farthest ? candidate : undefined;
}

function guess(input: unknown, known: readonly string[]): string {
  const near = typeof input === "string" ? nearest(input, known) : undefined;
  return near === undefined ? "" : `; did you mean "${near}"?`;
}

/** zod's own wording, but for what a person who wrote a file needs: the value given and the nearest known word. */
const explain: z.core.$ZodErrorMap = (issue) => {
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = knownKeys(issue.inst);
      return issue.keys.map((key) => `unknown key "${key}"; ${nearestHint(key, known)}`).join("; ");
    }
    case "invalid_value": {
      const values = issue.values.map(String);
      if (issue.input === undefined) return `is missing; one of: ${values.join(", ")}`;
      if (values.length === 1) return `must be ${values[0]}, not ${show(issue.input)}`;
      return `${show(issue.input)} is not one of ${values.join(", ")}${guess(issue.input, values)}`;
    }
    case "invalid_type": {
      const expected = typeWords[issue.expected] ?? `a ${issue.expected}`;
      if (issue.input === undefined) return `is missing; give ${expected}`;
      return `${show(issue.input)} is not ${expected}`;
    }
    case "invalid_union":
      return explainUnion(issue.errors, issue.input);
    case "too_small":
      if (issue.origin === "number" || issue.origin === "int") {
        return `${show(issue.input)} is too small; ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`;
      }
      if (issue.minimum === 1)
        return `${show(issue.input)} is empty; give ${partWords[issue.origin] ?? "a part"}`;
      return `${show(issue.input)} is too short; at least ${issue.minimum} ${partWords[issue.origin] ?? "parts"}`;
    case "too_big":
      if (issue.origin === "number" || issue.origin === "int") {
        return `${show(issue.input)} is too large; ${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}`;
      }
      return `${show(issue.input)} is too long; at most ${issue.maximum} ${partWords[issue.origin] ?? "parts"}`;
    case "invalid_format":
      return issue.pattern === undefined
        ? `${show(issue.input)} is not a valid ${issue.format}`
        : `${show(issue.input)} does not match ${issue.pattern}`;
    default:
      return undefined;
  }
};

/** The branch that was meant is the one that fits outermost and then fails inside; else every branch is named. */
function explainUnion(errors: readonly (readonly z.core.$ZodIssue[])[], input: unknown): string {
  const meant = errors.find(
    (issues) => !issues.some((issue) => issue.path.length === 0 && isTypeFault(issue)),
  );
  if (meant !== undefined) {
    return meant
      .map((issue) => `${issue.path.length ? `${keyPath(issue.path)}: ` : ""}${issue.message}`)
      .join("; ");
  }
  const wanted = errors.flatMap((issues) =>
    issues.flatMap((issue) => {
      if (issue.code === "invalid_type") return [typeWords[issue.expected] ?? `a ${issue.expected}`];
      if (issue.code === "invalid_value") return issue.values.map(String);
      return [];
    }),
  );
  const words = [...new Set(wanted)].join(" or ");
  return input === undefined ? `is missing; give ${words}` : `${show(input)} is not ${words}`;
}

function isTypeFault(issue: z.core.$ZodIssue): boolean {
  return issue.code === "invalid_type" || issue.code === "invalid_value" || issue.code === "invalid_union";
}

const typeWords: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a mapping of keys",
  record: "a mapping of keys",
  array: "a list",
  tuple: "a list",
};

/** What has a length. */
const partWords: Readonly<Record<string, string>> = { string: "characters", array: "entries" };

/** The keys of the object schema that refused a key. */
function knownKeys(schema: unknown): readonly string[] {
  const shape = (schema as { _zod?: { def?: { shape?: object } } } | undefined)?._zod?.def?.shape;
  return shape === undefined ? [] : Object.keys(shape);
}

function keyPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? String(part) : `.${String(part)}`;
  }
  return text;
}

function show(value: unknown): string {
  // JSON has no word for NaN and Infinity.
  const text = (typeof value === "number" ? undefined : JSON.stringify(value)) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new GatewayError("notFound", `${path}: there is no such file`, { cause: error });
    }
    throw new GatewayError("invalid", `${path}: cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
