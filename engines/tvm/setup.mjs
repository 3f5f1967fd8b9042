#!/usr/bin/env node
/**
 * Sets TVM up beside this file, in `.runtime` and `.venv` (both ignored by git):
 *
 *   node engines/tvm/setup.mjs [tvm] [autotvm] [autoscheduler] [metaschedule]
 *
 * The first three share TVM 0.14 from Maven Central, metaschedule has today's wheel; all of them unless some are named.
 * CROSSCHECK_TVM_XGBOOST=1 adds xgboost (tuner xgb), CROSSCHECK_TVM_CUDA=1 takes the TVM that compiles for CUDA GPUs.
 * Doing it again does nothing; an interrupted set-up goes on where it stopped (Maven and pip keep what they have).
 * A part that cannot be set up costs only its compilers: the others still are, and the exit code is 1.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const cuda = process.env.CROSSCHECK_TVM_CUDA === "1";
const xgboost = process.env.CROSSCHECK_TVM_XGBOOST === "1";

const relayWheels = [
  "numpy==1.26.4",
  "onnx==1.16.2",
  "protobuf<7",
  "ml_dtypes==0.4.1",
  "scipy<2",
  "attrs",
  "cloudpickle",
  "decorator",
  "psutil",
  "tornado",
  "typing_extensions",
  ...(xgboost ? ["xgboost==1.7.6"] : []),
  ...(cuda ? ["nvidia-cuda-runtime-cu12"] : []),
];
// With apache-tvm-ffi 0.1.15 this wheel crashes as soon as it writes a module as JSON, which every tuning does.
const metascheduleWheels = [
  "apache-tvm==0.27.0.post1",
  "apache-tvm-ffi==0.1.14.post1",
  "onnx==1.23.2",
  "numpy<3",
  "psutil",
  "cloudpickle",
  ...(xgboost ? ["xgboost-cpu"] : []),
];
const partOf = {
  tvm: setUpRelay,
  autotvm: setUpRelay,
  autoscheduler: setUpRelay,
  metaschedule: setUpMetaschedule,
};
const named = process.argv.slice(2);

class SetupError extends Error {}

for (const name of named) {
  if (name in partOf) continue;
  process.stderr.write(
    `tvm: there is no compiler "${name}" here; there are ${Object.keys(partOf).join(", ")}\n`,
  );
  process.exit(2);
}

mkdirSync(join(here, ".runtime"), { recursive: true });
mkdirSync(join(here, ".venv"), { recursive: true });
await withLock(async () => {
  const wanted = new Set((named.length > 0 ? named : Object.keys(partOf)).map((name) => partOf[name]));
  for (const result of await Promise.allSettled([...wanted].map((setUp) => setUp()))) {
    if (result.status === "fulfilled") continue;
    process.exitCode = 1;
    const { reason } = result;
    say("", `FAILED: ${reason instanceof SetupError ? reason.message : (reason?.stack ?? reason)}`);
  }
});

/** TVM 0.14: jars by Maven and wheels by pip at the same time, then the one library that neither has. */
async function setUpRelay() {
  const given = process.env.CROSSCHECK_TVM_PYTHON;
  if (given) return checkGivenPython(given);
  const flavour = cuda ? "linux-x86_64-gpu" : "linux-x86_64";
  const target = join(here, ".runtime", "relay");
  const stamp = stampOf(["relay 4", flavour, relayWheels, readFileSync(join(here, "pom.xml"), "utf8")]);
  if (isDone(target, stamp)) return say("relay", "already set up");
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new SetupError(
      `no TVM binary with AutoTVM and AutoScheduler is published for ${process.platform} ${process.arch}. ` +
        "Build TVM 0.19 or older from source and set CROSSCHECK_TVM_PYTHON to its Python (see engines/tvm/README.md).",
    );
  requireProgram("java", ["-version"], "a JDK, 11 or newer (Debian: apt-get install default-jdk-headless)");
  requireProgram("mvn", ["-v"], "Maven, 3.6 or newer (Debian: apt-get install maven)");
  const python = findPython([10, 11, 12]);
  const [jars] = await Promise.all([downloadJars(flavour), makeVenv("relay", python, relayWheels)]);
  const fresh = `${target}.new`;
  rmSync(fresh, { recursive: true, force: true });
  say("relay", "unpacking");
  await run("relay", python, [join(here, "unpack.py"), fresh, ...jars]);
  await provideLibraries(fresh);
  const venvPython = join(here, ".venv/relay/bin/python");
  const packages = (
    await run("relay", venvPython, ["-c", "import site; print(site.getsitepackages()[0])"])
  ).trim();
  if (cuda)
    copyFileSync(
      join(packages, "nvidia/cuda_runtime/lib/libcudart.so.12"),
      join(fresh, "lib/libcudart.so.12"),
    );
  await run("relay", venvPython, ["-c", "import tvm, tvm.relay, tvm.autotvm, tvm.auto_scheduler"], {
    PYTHONPATH: join(fresh, "python"),
    LD_LIBRARY_PATH: join(fresh, "lib"),
  });
  writeFileSync(join(packages, "crosscheck_tvm.pth"), `${join(target, "python")}\n`);
  finish(fresh, target, stamp);
  say("relay", "ready: tvm, autotvm, autoscheduler");
}

/** Today's TVM has MetaSchedule only; its wheel has everything in it. */
async function setUpMetaschedule() {
  const target = join(here, ".runtime", "metaschedule");
  const stamp = stampOf(["metaschedule 1", metascheduleWheels]);
  if (isDone(target, stamp)) return say("metaschedule", "already set up");
  await makeVenv("metaschedule", findPython([10, 11, 12, 13, 14]), metascheduleWheels);
  await run("metaschedule", join(here, ".venv/metaschedule/bin/python"), ["-c", "import tvm.relax"]);
  const fresh = `${target}.new`;
  mkdirSync(fresh, { recursive: true });
  finish(fresh, target, stamp);
  say("metaschedule", "ready: metaschedule");
}

async function checkGivenPython(python) {
  try {
    await run("relay", python, ["-c", "import tvm, onnx, tvm.relay, tvm.autotvm, tvm.auto_scheduler"]);
  } catch (cause) {
    throw new SetupError(
      `CROSSCHECK_TVM_PYTHON=${python} cannot import TVM with Relay, AutoTVM and AutoScheduler (TVM 0.19 or older) and onnx; ` +
        `correct it or unset it. ${cause.message}`,
    );
  }
  say("relay", `using CROSSCHECK_TVM_PYTHON=${python}`);
}

/** Asks Maven for the jars of pom.xml and returns where they lie in its local repository. */
async function downloadJars(flavour) {
  const list = join(here, ".runtime", "jars.txt");
  const total = 204;
  const groups = [join(homedir(), ".m2/repository/org/bytedeco")];
  const timer = setInterval(() => {
    const bytes = groups.reduce((sum, dir) => sum + sizeOfJars(dir), 0);
    say("relay", `Maven: about ${Math.min(total, Math.round(bytes / 1e6))} of ${total} MB`);
  }, 5000);
  try {
    say("relay", `Maven: TVM 0.14, LLVM 17 and their libraries, ${total} MB`);
    await retry("relay", () =>
      run("relay", "mvn", [
        "--batch-mode",
        "--quiet",
        "--no-transfer-progress",
        "--file",
        join(here, "pom.xml"),
        `-Dflavour=${flavour}`,
        "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath",
        `-Dmdep.outputFile=${list}`,
      ]),
    );
  } finally {
    clearInterval(timer);
  }
  return readFileSync(list, "utf8").trim().split(":");
}

function sizeOfJars(dir) {
  let sum = 0;
  for (const [name, version] of [
    ["tvm", "0.14.0-1.5.10"],
    ["llvm", "17.0.6-1.5.10"],
    ["openblas", "0.3.26-1.5.10"],
    ["dnnl", "2.7.1-1.5.8"],
  ]) {
    const folder = join(dir, name, version);
    if (existsSync(folder))
      for (const file of readdirSync(folder))
        if (file.includes(".jar")) sum += statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0;
  }
  return sum;
}

async function makeVenv(name, python, wheels) {
  const venv = join(here, ".venv", name);
  if (!existsSync(join(venv, "bin/pip")) || !works(join(venv, "bin/python"))) {
    rmSync(venv, { recursive: true, force: true });
    try {
      await run(name, python, ["-m", "venv", venv]);
    } catch (cause) {
      rmSync(venv, { recursive: true, force: true });
      throw new SetupError(
        `${python} cannot make a virtual environment; install its venv module (Debian: apt-get install python3-venv). ${cause.message}`,
      );
    }
  }
  say(name, `pip: ${wheels.join(" ")}`);
  await retry(name, () =>
    run(name, join(venv, "bin/python"), [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      "--only-binary",
      ":all:",
      "--no-compile",
      ...wheels,
    ]),
  );
}

/**
 * libtvm.so is linked with libOpenCL.so.1, which no jar has. In order: a stub, when there is a C compiler; the system's;
 * Debian's loader, unpacked without root. For CUDA, libraries that plain `cuda` targets never call are stubs too.
 */
async function provideLibraries(root) {
  const python = findPython([10, 11, 12]);
  const cudaStubs = ["libcudnn.so.8", "libcublas.so.12", "libcublasLt.so.12", "libnvrtc.so.12"];
  if (works("cc") && works("nm")) {
    const names = ["libOpenCL.so.1", ...(cuda ? cudaStubs : [])];
    await run("relay", python, [join(here, "stub_libraries.py"), root, ...names]);
    return;
  }
  if (cuda)
    throw new SetupError(
      "TVM for CUDA needs a C compiler: install one (Debian: apt-get install gcc libc6-dev).",
    );
  if (works(python, ["-c", 'import ctypes; ctypes.CDLL("libOpenCL.so.1")'])) return;
  try {
    const scratch = join(root, "opencl");
    mkdirSync(scratch);
    await run("relay", "apt-get", ["download", "ocl-icd-libopencl1"], {}, scratch);
    const deb = readdirSync(scratch).find((file) => file.endsWith(".deb"));
    await run("relay", "dpkg", ["-x", deb, "."], {}, scratch);
    const folder = join(scratch, "usr/lib/x86_64-linux-gnu");
    const real = readdirSync(folder).find((file) => /^libOpenCL\.so\.1\../.test(file));
    renameSync(join(folder, real), join(root, "lib/libOpenCL.so.1"));
    rmSync(scratch, { recursive: true, force: true });
  } catch (cause) {
    throw new SetupError(
      `TVM needs libOpenCL.so.1: install a C compiler (Debian: apt-get install gcc libc6-dev) or ocl-icd-libopencl1. ${cause.message}`,
    );
  }
}

function findPython(minors) {
  const wish = process.env.CROSSCHECK_PYTHON;
  const names = [
    ...(wish ? [wish] : []),
    "python3",
    ...minors.toReversed().map((minor) => `python3.${minor}`),
  ];
  for (const name of names) {
    const version = versionOf(name);
    if (version && version[0] === 3 && minors.includes(version[1])) return name;
  }
  const found = versionOf("python3");
  throw new SetupError(
    `needs Python 3.${minors[0]} to 3.${minors.at(-1)} with venv, found ${found ? found.join(".") : "none"}; ` +
      "install one (Debian: apt-get install python3 python3-venv) or set CROSSCHECK_PYTHON to it.",
  );
}

function versionOf(python) {
  try {
    const text = execFileSync(python, ["-c", "import sys; print(*sys.version_info[:2])"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.toString().trim().split(" ").map(Number);
  } catch {
    return undefined;
  }
}

function works(program, args = ["--version"]) {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function requireProgram(program, args, remedy) {
  if (!works(program, args)) throw new SetupError(`needs ${program}, which is not here: install ${remedy}.`);
}

/** Runs a program at low priority; its output is shown only when it fails. */
function run(part, program, args, env = {}, cwd = join(here, ".runtime")) {
  return new Promise((resolve, reject) => {
    const child = spawn("nice", ["-n", "5", program, ...args], {
      cwd,
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: "", TOPHUB_LOCATION: "NONE", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (chunk) => {
      output = (output + chunk).slice(-4000);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(output);
      else
        reject(
          new SetupError(
            `${program} ${args.slice(0, 3).join(" ")} ended with ${signal ?? code}:\n${output.trim()}`,
          ),
        );
    });
  });
}

async function retry(part, attempt, times = 3) {
  for (let turn = 1; ; turn += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (turn === times) throw error;
      say(part, `attempt ${turn} of ${times} failed, trying again`);
      await new Promise((resolve) => setTimeout(resolve, 2000 * turn));
    }
  }
}

function stampOf(parts) {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function isDone(target, stamp) {
  return readIfThere(join(target, "stamp")) === stamp;
}

function finish(fresh, target, stamp) {
  writeFileSync(join(fresh, "stamp"), stamp);
  rmSync(target, { recursive: true, force: true });
  renameSync(fresh, target);
}

function readIfThere(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/** One set-up at a time (npm start and npm test may run together); the lock of a dead process is taken over. */
async function withLock(work) {
  const lock = join(here, ".runtime", "setup.lock");
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      const owner = Number(readIfThere(lock));
      if (owner > 0 && isAlive(owner)) {
        say("", `waiting for the set-up that process ${owner} is doing`);
        await new Promise((resolve) => setTimeout(resolve, 3000));
      } else rmSync(lock, { force: true });
    }
  }
  const release = () => rmSync(lock, { force: true });
  for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, () => {
      release();
      process.exit(130);
    });
  try {
    await work();
  } finally {
    release();
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function say(part, text) {
  process.stdout.write(`tvm${part ? ` ${part}` : ""}: ${text}\n`);
}
