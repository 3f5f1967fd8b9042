/** @returns undefined when the command is there, otherwise why not. @throws in CI when it cannot be had. */
export function ensureSystemPackage(wanted: {
  readonly package: string;
  readonly command: string;
}): Promise<string | undefined>;
