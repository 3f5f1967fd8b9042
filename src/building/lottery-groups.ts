import { isDeepStrictEqual } from "node:util";
import type { Compiler } from "./families.ts";
import type { LotteryEngine } from "./lottery.ts";

/** Builds that were made alike: one compiler, version, precision, target, settings, thread count and model file. */
export function lotteryGroups(engines: readonly LotteryEngine[]): readonly (readonly LotteryEngine[])[] {
  const groups: LotteryEngine[][] = [];
  for (const engine of engines) {
    const group = groups.find(([first]) => first !== undefined && alike(first, engine));
    if (group === undefined) groups.push([engine]);
    else group.push(engine);
  }
  return groups;
}

/** The command that makes an engine again from the log or cache beside it, or why there is none. */
export function replayCommand(
  engine: LotteryEngine,
  compiler: Compiler,
  { repository, modelFile }: { repository: string; modelFile: string },
): { readonly command: string } | { readonly why: string } {
  const { manifest, directory } = engine;
  const log = manifest.tuningLog?.file ?? manifest.timingCache?.file;
  if (log === undefined) {
    return { why: `${manifest.compiler.name} leaves no log; keep the artifact itself, in ${directory}` };
  }
  const paths = { repository, modelFile };
  return { command: `${compileCommand(engine, compiler, paths)} --replay ${quote(`${directory}/${log}`)}` };
}

/** The command that builds with an engine's settings, anew. */
export function compileCommand(
  { manifest }: LotteryEngine,
  compiler: Compiler,
  { repository, modelFile }: { repository: string; modelFile: string },
): string {
  const words = ["npx crosscheck compile", modelFile, "--model", manifest.model, "--compiler", compiler.name];
  words.push("--repository", repository);
  if (manifest.precision !== "fp32") words.push("--precision", manifest.precision);
  for (const [name, declaration] of Object.entries(compiler.options)) {
    const value = manifest.options[name];
    const plain = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    if (plain && value !== declaration.default) words.push("--option", `${name}=${value}`);
  }
  return words.map((word, i) => (i === 0 ? word : quote(word))).join(" ");
}

function alike(a: LotteryEngine, b: LotteryEngine): boolean {
  return isDeepStrictEqual(settings(a), settings(b));
}

function settings({ manifest }: LotteryEngine): object {
  const { compiler, precision, target, options, threads, source, device, notes } = manifest;
  // Builds that came out of one log are meant to be equal, so they are no draw of the lottery.
  return {
    compiler,
    precision,
    target,
    options,
    threads,
    device,
    source: source.sha256,
    replay: notes?.["replaySha256"],
  };
}

function quote(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
