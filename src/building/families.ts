import { readdir } from "node:fs/promises";
import { delimiter, isAbsolute, join, resolve } from "node:path";
import { GatewayError } from "../core/errors.ts";
import { nearestHint, parseYamlFile } from "../core/yaml-file.ts";
import {
  type CompilerEntry,
  type FamilyFile,
  familySchema,
  type OptionDeclaration,
} from "./family-schema.ts";

/** A program ready to be started: absolute or to be found on the path, with its folder and whole environment. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/** One way to make engines, and the commands that belong to it. */
export interface Compiler {
  readonly name: string;
  readonly family: string;
  readonly description: string;
  readonly precisions: readonly string[];
  readonly calibrated: readonly string[];
  readonly options: Readonly<Record<string, OptionDeclaration>>;
  readonly setup: Command | undefined;
  readonly probe: Command;
  readonly compile: Command;
  readonly host: Command;
  /** Absolute path of the module that `isolation: inline` runs, where the compiler's engines can. */
  readonly inline: string | undefined;
}

/** Everything the engines folder offers. A broken family is a problem on record and costs only its own compilers. */
export interface Families {
  readonly compilers: readonly Compiler[];
  readonly problems: readonly { readonly family: string; readonly error: string }[];
  /** @throws GatewayError `notFound` with the nearest known compiler. */
  compiler(name: string): Compiler;
  /** Starts engine hosts for artifacts of this compiler. @throws GatewayError `notFound`. */
  hostCommand(compiler: string): Command;
}

export interface FamiliesOptions {
  /** The package's folder: families lie in `engines/`, built TypeScript programs in `dist/engines/`. */
  readonly root: string;
  /** The environment that commands inherit and that settings (CROSSCHECK_TVM_PYTHON) are read from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Reads every `engines/<family>/family.yaml`. */
export async function readFamilies({ root, environment }: FamiliesOptions): Promise<Families> {
  const engines = join(root, "engines");
  const compilers = new Map<string, Compiler>();
  const problems: { family: string; error: string }[] = [];
  for (const family of await folderNames(engines)) {
    const directory = join(engines, family);
    try {
      const file = await parseYamlFile(join(directory, "family.yaml"), familySchema);
      const found = toCompilers(file, family, { root, directory, environment });
      for (const compiler of found) {
        const other = compilers.get(compiler.name);
        if (other !== undefined) {
          throw new Error(
            `${directory}: compiler "${compiler.name}" is offered by "${other.family}" too; rename one`,
          );
        }
      }
      for (const compiler of found) compilers.set(compiler.name, compiler);
    } catch (error) {
      // A folder without family.yaml is no family: engines/python is a library.
      if (error instanceof GatewayError && error.code === "notFound") continue;
      problems.push({ family, error: (error as Error).message });
    }
  }
  const compiler = (name: string): Compiler => {
    const found = compilers.get(name);
    if (found !== undefined) return found;
    const broken =
      problems.length === 0 ? "" : ` (not readable: ${problems.map((p) => p.family).join(", ")})`;
    const hint = nearestHint(name, [...compilers.keys()]);
    throw new GatewayError(
      "notFound",
      `compiler "${name}" is not offered by any family in engines/${broken}; ${hint}`,
    );
  };
  return {
    compilers: [...compilers.values()],
    problems,
    compiler,
    hostCommand: (name) => compiler(name).host,
  };
}

interface Place {
  readonly root: string;
  readonly directory: string;
  readonly environment: FamiliesOptions["environment"];
}

function toCompilers(file: FamilyFile, folder: string, place: Place): Compiler[] {
  if (file.family !== folder) {
    throw new Error(
      `${place.directory}: family.yaml says family: ${file.family}; make it equal to the folder's name`,
    );
  }
  return Object.entries(file.compilers).map(([name, entry]) => toCompiler(name, entry, file, place));
}

function toCompiler(name: string, entry: CompilerEntry, file: FamilyFile, place: Place): Compiler {
  for (const [option, declaration] of Object.entries(entry.options)) checkDefault(name, option, declaration);
  const values = placeholders(file, entry, place);
  const fill = (text: string): string => fillPlaceholders(text, values, place);
  const env = environmentOf({ ...file.env, ...entry.env }, fill, place);
  const command = (kind: "setup" | "probe" | "compile" | "host"): Command | undefined => {
    const words = entry[kind] ?? file[kind];
    if (words === undefined) return undefined;
    const [program, ...args] = words.map(fill) as [string, ...string[]];
    return { file: programPath(program, place.directory), args, cwd: place.directory, env };
  };
  const required = (kind: "probe" | "compile" | "host"): Command => {
    const found = command(kind);
    if (found !== undefined) return found;
    throw new Error(
      `${place.directory}: compiler "${name}" has no ${kind} command; add ${kind}: [program, argument]`,
    );
  };
  const inline = entry.inline ?? file.inline;
  return {
    name,
    family: file.family,
    description: entry.description === "" ? file.description : entry.description,
    precisions: entry.precisions,
    calibrated: entry.calibrated.filter((precision) => entry.precisions.includes(precision)),
    options: entry.options,
    setup: command("setup"),
    probe: required("probe"),
    compile: required("compile"),
    host: required("host"),
    inline: inline === undefined ? undefined : resolve(place.directory, fill(inline)),
  };
}

function placeholders(file: FamilyFile, entry: CompilerEntry, place: Place): ReadonlyMap<string, string> {
  const values = new Map([
    ["node", process.execPath],
    ["family", place.directory],
    ["dist", join(place.root, "dist", "engines", file.family)],
  ]);
  const python = entry.python ?? file.python;
  if (python !== undefined) {
    const chosen = place.environment[python.setting];
    const text = chosen === undefined || chosen === "" ? python.default : chosen;
    values.set("python", programPath(text.replaceAll("{family}", place.directory), place.directory));
  }
  return values;
}

function fillPlaceholders(text: string, values: ReadonlyMap<string, string>, place: Place): string {
  return text.replaceAll(
    /\{(env:)?([A-Za-z_][A-Za-z0-9_]*)\}/g,
    (whole, env: string | undefined, name: string) => {
      if (env !== undefined) return place.environment[name] ?? "";
      const value = values.get(name);
      if (value !== undefined) return value;
      const missing = name === "python" ? "; say python: { setting: ..., default: ... }" : "";
      throw new Error(`${place.directory}: unknown placeholder ${whole} in "${text}"${missing}`);
    },
  );
}

function environmentOf(
  own: Readonly<Record<string, string>>,
  fill: (text: string) => string,
  place: Place,
): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const [key, value] of Object.entries(place.environment)) {
    // The one secret among the settings; no engine needs it.
    if (value !== undefined && key !== "CROSSCHECK_API_KEY") env[key] = value;
  }
  const library = join(place.root, "engines", "python");
  env["PYTHONPATH"] = env["PYTHONPATH"] ? library + delimiter + env["PYTHONPATH"] : library;
  for (const [key, value] of Object.entries(own)) env[key] = fill(value);
  return env;
}

/** A bare name is looked for on the path; anything with a slash is meant from the family's folder. */
function programPath(program: string, directory: string): string {
  return isAbsolute(program) || !program.includes("/") ? program : resolve(directory, program);
}

function checkDefault(compiler: string, option: string, declaration: OptionDeclaration): void {
  const value = declaration.default;
  if (value === undefined || value === null) return;
  const wanted = declaration.type === "integer" ? "number" : declaration.type;
  if (typeof value !== wanted) {
    throw new Error(
      `compiler "${compiler}": default ${String(value)} of option ${option} is no ${declaration.type}`,
    );
  }
}

async function folderNames(parent: string): Promise<string[]> {
  const entries = await readdir(parent, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}
