import { GatewayError } from "../core/errors.ts";
import { nearestHint } from "../core/yaml-file.ts";
import type { Compiler } from "./families.ts";
import type { OptionDeclaration } from "./family-schema.ts";

export type OptionValue = string | number | boolean | null;

/**
 * `key=value` texts checked against what the compiler declares, defaults filled in; null stands for an option
 * without a default that was not given.
 *
 * @throws GatewayError `invalid` naming the option, the value and what would do.
 */
export function readOptions(compiler: Compiler, given: readonly string[]): Record<string, OptionValue> {
  const values: Record<string, OptionValue> = {};
  for (const [name, declaration] of Object.entries(compiler.options))
    values[name] = declaration.default ?? null;
  for (const text of given) {
    const at = text.indexOf("=");
    if (at < 1) throw new GatewayError("invalid", `option "${text}" is not of the form key=value`);
    const name = text.slice(0, at);
    const declaration = Object.hasOwn(compiler.options, name) ? compiler.options[name] : undefined;
    if (declaration === undefined) {
      const known = Object.keys(compiler.options);
      const hint = known.length === 0 ? "it has none" : nearestHint(name, known);
      throw new GatewayError("invalid", `compiler "${compiler.name}" has no option "${name}"; ${hint}`);
    }
    values[name] = readOption(compiler.name, name, text.slice(at + 1), declaration);
  }
  return values;
}

/** @throws GatewayError `invalid` when the compiler does not build this precision. */
export function checkPrecision(compiler: Compiler, precision: string): void {
  if (compiler.precisions.includes(precision)) return;
  throw new GatewayError(
    "invalid",
    `compiler "${compiler.name}" does not build precision "${precision}"; it builds ${compiler.precisions.join(", ")}`,
  );
}

function readOption(
  compiler: string,
  name: string,
  text: string,
  declaration: OptionDeclaration,
): OptionValue {
  const refuse = (wanted: string): never => {
    throw new GatewayError("invalid", `option ${name}=${text} of compiler "${compiler}" must be ${wanted}`);
  };
  switch (declaration.type) {
    case "boolean":
      return text === "true" || (text === "false" ? false : refuse("true or false"));
    case "string": {
      const { values } = declaration;
      return values === undefined || values.includes(text) ? text : refuse(`one of ${values.join(", ")}`);
    }
    case "integer":
    case "number": {
      const { min = -Infinity, max = Infinity, type } = declaration;
      const value = text.trim() === "" ? Number.NaN : Number(text);
      const fits = Number.isFinite(value) && value >= min && value <= max;
      if (!fits || (type === "integer" && !Number.isSafeInteger(value))) refuse(numberWords(type, min, max));
      return value;
    }
    default:
      return declaration satisfies never;
  }
}

function numberWords(type: "integer" | "number", min: number, max: number): string {
  const kind = type === "integer" ? "a whole number" : "a number";
  if (min !== -Infinity && max !== Infinity) return `${kind} from ${min} to ${max}`;
  if (min !== -Infinity) return `${kind} of at least ${min}`;
  return max === Infinity ? kind : `${kind} of at most ${max}`;
}
