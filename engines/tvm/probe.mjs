/** Prints what this machine can do with TVM, one line of JSON (engines/README.md). */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { accessSync, constants } from "node:fs";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const remedySetup = "run node engines/tvm/setup.mjs";
const device = { kind: "cpu", name: cpus()[0]?.model ?? "unknown" };

const [relay, metaschedule] = await Promise.all([
  probe({
    python: process.env.CROSSCHECK_TVM_PYTHON ?? join(here, ".venv/relay/bin/python"),
    modules: "tvm, onnx, tvm.relay, tvm.autotvm, tvm.auto_scheduler",
    setUp: process.env.CROSSCHECK_TVM_PYTHON !== undefined || isThere(".runtime/relay/stamp"),
  }),
  probe({
    python: process.env.CROSSCHECK_METASCHEDULE_PYTHON ?? join(here, ".venv/metaschedule/bin/python"),
    modules: "tvm, onnx, tvm.relax",
    setUp: process.env.CROSSCHECK_METASCHEDULE_PYTHON !== undefined || isThere(".runtime/metaschedule/stamp"),
  }),
]);
console.log(
  JSON.stringify({ compilers: { tvm: relay, autotvm: relay, autoscheduler: relay, metaschedule } }),
);

async function probe({ python, modules, setUp }) {
  if (!setUp) return { available: false, reason: "TVM is not set up", remedy: remedySetup };
  const answer = await ask(python, `import ${modules}; print(tvm.__version__)`);
  if (answer.error)
    return { available: false, reason: `TVM cannot be imported: ${answer.error}`, remedy: remedySetup };
  if (!hasCompiler()) {
    return {
      available: false,
      reason: "TVM links its libraries with a C++ compiler, and none is on PATH",
      remedy: "install g++ (Debian: apt-get install g++)",
    };
  }
  return { available: true, version: answer.text.trim().split("\n").at(-1), device };
}

function ask(python, code) {
  return new Promise((resolve) => {
    execFile(
      python,
      ["-c", code],
      { cwd: join(here, ".runtime"), timeout: 55_000 },
      (error, stdout, stderr) => {
        if (!error) resolve({ text: stdout });
        else if (error.killed) resolve({ error: "no answer within 55 s; the machine is busy, try again" });
        else resolve({ error: stderr.trim().split("\n").at(-1) || error.message });
      },
    );
  });
}

function hasCompiler() {
  const names = [process.env.CXX, process.env.CC, "g++", "gcc", "clang++", "clang", "c++", "cc"].filter(
    Boolean,
  );
  return names.some(
    (name) =>
      (process.env.PATH ?? "").split(delimiter).some((dir) => isExecutable(join(dir, name))) ||
      isExecutable(name),
  );
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return path.includes("/");
  } catch {
    return false;
  }
}

function isThere(path) {
  try {
    readFileSync(join(here, path));
    return true;
  } catch {
    return false;
  }
}
