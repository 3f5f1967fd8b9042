import { spawnSync } from "node:child_process";
import { coreList, coreSplit, type CoreSplit, fitShadow } from "../core/cores.ts";

export type HostPriority = "serving" | "shadow";

/**
 * The command with the prefixes that tie it to the gateway's life, give it its cores and lower its priority, as far as this
 * machine has them: `setpriv` of util-linux (busybox's cannot do it; host libraries then call prctl themselves), `taskset`,
 * `chrt` or `nice`.
 */
export function launchCommand(
  command: readonly string[],
  { priority, threads }: { readonly priority: HostPriority; readonly threads: number },
): readonly string[] {
  prefixes ??= {
    die: firstThatRuns([["setpriv", "--pdeathsig", "KILL"]]),
    idle: firstThatRuns([
      ["chrt", "--idle", "0"],
      ["nice", "-n", "19"],
    ]),
  };
  const split = coreSplit();
  return [
    ...prefixes.die,
    ...(split ? ["taskset", "--cpu-list", coreList(coresFor(priority, threads, split))] : []),
    ...(priority === "shadow" ? prefixes.idle : []),
    ...command,
  ];
}

export function coresFor(priority: HostPriority, threads: number, split: CoreSplit): readonly number[] {
  return priority === "shadow" && fitShadow(threads, split) ? split.shadow : split.all;
}

let prefixes: { readonly die: readonly string[]; readonly idle: readonly string[] } | undefined;

function firstThatRuns(candidates: readonly (readonly [string, ...string[]])[]): readonly string[] {
  for (const candidate of candidates) {
    const [program, ...rest] = candidate;
    if (spawnSync(program, [...rest, "true"], { stdio: "ignore" }).status === 0) return candidate;
  }
  return [];
}
