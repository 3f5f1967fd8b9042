import { InvalidArgumentError } from "commander";

/** A time limit; more than a day is a slip. */
export function seconds(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 86_400) return value;
  throw new InvalidArgumentError("It must be a number of seconds above 0.");
}
