import { spawnSync } from "node:child_process";

export type HostPriority = "serving" | "shadow";

/**
 * The command with the prefixes that tie it to the gateway's life and lower its priority, as far as this machine has
 * them: `setpriv` of util-linux (busybox's cannot do it; host libraries then call prctl themselves), `chrt` or `nice`.
 */
export function launchCommand(command: readonly string[], priority: HostPriority): readonly string[] {
  prefixes ??= {
    die: firstThatRuns([["setpriv", "--pdeathsig", "KILL"]]),
    idle: firstThatRuns([
      ["chrt", "--idle", "0"],
      ["nice", "-n", "19"],
    ]),
  };
  return [...prefixes.die, ...(priority === "shadow" ? prefixes.idle : []), ...command];
}

let prefixes: { readonly die: readonly string[]; readonly idle: readonly string[] } | undefined;

function firstThatRuns(candidates: readonly (readonly [string, ...string[]])[]): readonly string[] {
  for (const candidate of candidates) {
    const [program, ...rest] = candidate;
    if (spawnSync(program, [...rest, "true"], { stdio: "ignore" }).status === 0) return candidate;
  }
  return [];
}
