import { spawnSync } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { quantizerProblem, readyMarker, requirements } from "./quantizer.ts";

/** Setup program: the Python packages of int8 quantisation, in a virtual environment of this folder's own. */
const [python = "python3"] = process.argv.slice(2);
const environment = join(process.cwd(), ".venv");
const ownPython = join(environment, "bin", "python");

const basePythons = ["python3", "python3.13", "python3.12", "python3.11", "python3.10"];

process.exitCode = await setup();

async function setup(): Promise<number> {
  const problem = quantizerProblem(python, environment);
  if (problem === undefined) return 0;
  if (python !== ownPython)
    return fail(`${problem}; install ${requirements().join(" ")} there, or unset its setting`);
  const base = basePythons.find(
    (name) =>
      spawnSync(name, ["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))"]).status ===
      0,
  );
  if (base === undefined) {
    return fail("int8 needs Python 3.10 or later with venv; install it (Debian: apt install python3-venv)");
  }
  console.log(`int8: making a virtual environment with ${base}`);
  await rm(environment, { recursive: true, force: true });
  if (!run(base, ["-m", "venv", environment]))
    return fail(`${base} -m venv ${environment} failed; see above`);
  console.log(`int8: installing ${requirements().join(" ")}`);
  const pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
  if (!run(ownPython, [...pip, ...requirements()])) {
    return fail(
      "int8: pip could not install the packages; check the network or pip's index setting and try again",
    );
  }
  await writeFile(join(environment, readyMarker), `${requirements().join(" ")}\n`);
  return 0;
}

function run(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: ["ignore", "inherit", "inherit"] }).status === 0;
}

function fail(why: string): number {
  console.log(why);
  return 1;
}
