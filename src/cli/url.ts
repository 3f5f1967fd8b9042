import { InvalidArgumentError } from "commander";

/** An http address without its trailing slashes. @throws InvalidArgumentError, which ends as a usage error. */
export function httpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:")
    throw new InvalidArgumentError(`"${text}" is no address; give one such as http://127.0.0.1:8000.`);
  return text.replace(/\/+$/, "");
}
