/** `--quick` shrinks every bench to a check that it works; its figures mean little. */
export const quick = process.argv.includes("--quick");

/** `--server-cpus=0,1`: servers get these cores for themselves, so that the load generator takes nothing from them. */
export const serverCores: readonly number[] | undefined = option("server-cpus")?.split(",").map(Number);

/** The value of `--name=value`. */
export function option(name: string): string | undefined {
  const start = `--${name}=`;
  return process.argv.find((argument) => argument.startsWith(start))?.slice(start.length);
}

/** For a heading after `separator`: who runs where. Nothing where all share the machine. */
export function places(separator: string): string {
  if (!serverCores) return "";
  return `${separator}gateway and hosts on cores ${serverCores.join(" and ")}, load from others`;
}

/** Cells of a Markdown table row. */
export function tableRow(cells: readonly (string | number)[]): string {
  return `| ${cells.join(" | ")} |`;
}

export function tableHead(cells: readonly string[]): string {
  return `${tableRow(cells)}\n|${cells.map((_, at) => (at === 0 ? "---" : "---:")).join("|")}|`;
}

export function print(line = ""): void {
  process.stdout.write(`${line}\n`);
}

/** Progress, which is no result. */
export function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
