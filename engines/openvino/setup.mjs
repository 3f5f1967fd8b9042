/** setup.mjs PYTHON [COMPILER...]: puts OpenVINO's wheel into `.venv`; at once when the given Python has it. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const venv = join(dirname(fileURLToPath(import.meta.url)), ".venv");
const wheels = ["openvino==2026.4.1", "numpy"];
const [python] = process.argv.slice(2);
const canImport = () => spawnSync(python, ["-c", "import openvino, numpy"], { stdio: "ignore" }).status === 0;

if (canImport()) process.exit(0);
if (python !== join(venv, "bin/python"))
  fail(`${python} cannot import openvino: correct or unset CROSSCHECK_OPENVINO_PYTHON`);
console.log(`openvino: pip install ${wheels.join(" ")}`);
rmSync(venv, { recursive: true, force: true });
const base = process.env.CROSSCHECK_PYTHON ?? "python3";
run(
  base,
  ["-m", "venv", venv],
  "install Python 3.10 or newer with venv (Debian: apt-get install python3-venv)",
);
const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
run(
  python,
  [...pip, ...wheels],
  "see pip's message above; is the package index reachable, and is there a wheel for this machine?",
);
if (!canImport()) fail("OpenVINO was installed but cannot be imported");

function run(program, args, remedy) {
  const { status, error } = spawnSync(program, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0)
    fail(`${program} ${args.slice(0, 3).join(" ")} failed${error ? ` (${error.message})` : ""}: ${remedy}`);
}

function fail(message) {
  console.log(`openvino: ${message}`);
  process.exit(1);
}
