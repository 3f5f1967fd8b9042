import { spawn } from "node:child_process";
import type { Command } from "commander";
import { readFamilies, type Command as FamilyCommand } from "../building/families.ts";
import { GatewayError } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";

export function registerSetup(program: Command): void {
  program
    .command("setup <compiler...>")
    .description(
      "install what compilers need, into ignored folders of their families; at once when it is there",
    )
    .action(setup);
}

async function setup(names: string[]): Promise<void> {
  const families = await readFamilies({ root: packageRoot(), environment: process.env });
  const byFamily = new Map<string, { command: FamilyCommand; names: string[] }>();
  for (const name of names) {
    const { family, setup: command } = families.compiler(name);
    if (!command) continue;
    const entry = byFamily.get(family) ?? { command, names: [] };
    entry.names.push(name);
    byFamily.set(family, entry);
  }
  for (const [family, { command, names: wanted }] of byFamily) {
    const code = await run(command, wanted);
    if (code !== 0)
      throw new GatewayError(
        "conflict",
        `set-up of ${wanted.join(", ")} (family ${family}) failed; the lines above say what is missing`,
      );
  }
}

function run({ file, args, cwd, env }: FamilyCommand, more: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args, ...more], {
      cwd,
      env: { ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
