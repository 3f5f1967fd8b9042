// `npm test`: sets up everything that the tests need, then checks and tests. `npm test -- ARGS` hands ARGS to vitest and
// leaves the checks out. In CI nothing may be missing; elsewhere what cannot be had is named and its tests are skipped.
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fail, root, run, runQuietly, say, setup } from "./setup.mjs";
import { ensureSystemPackage } from "./system-packages.mjs";

const args = process.argv.slice(2);
const ci = process.env.CI === "true";

await setup();
await systemPackages();
const [python, ...families] = await Promise.all([
  pythonPackages(),
  family("onnxruntime", ["onnxruntime"]),
  family("tvm", ["autotvm", "autoscheduler", "metaschedule"]),
  family("openvino", ["openvino"]),
]);
const missing = [python, ...families].filter((reason) => reason !== undefined);
if (missing.length > 0 && ci) fail(`CI lacks: ${missing.join("; ")}`);
for (const reason of missing) say(`tests that need it are skipped: ${reason}`);

const bin = (name) => join(root, "node_modules/.bin", name);
if (args.length === 0) {
  for (const script of ["lint", "fmt:check", "typecheck", "deadcode"]) {
    say(`npm run ${script}`);
    await run(["npm", "run", "--silent", script], { label: script, remedy: "see the lines above" });
  }
}
say("vitest");
const results = join(mkdtempSync(join(tmpdir(), "crosscheck-test-")), "results.json");
const reporters = args.some((arg) => arg.startsWith("--reporter")) ? [] : ["--reporter=default"];
const code = await runQuietly(
  [bin("vitest"), "run", ...reporters, "--reporter=json", `--outputFile=${results}`, ...args],
  {
    label: "vitest",
    env: { FORCE_COLOR: "0" },
    onLine: (line) => process.stdout.write(`${line}\n`),
  },
);
if (existsSync(results)) {
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(results, "utf8"));
  process.stdout.write(`${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped\n`);
}
process.exit(typeof code === "number" ? code : 1);

/** One after another: they share apt's lock. */
async function systemPackages() {
  for (const [name, command] of [
    ["redis-server", "redis-server"],
    ["prometheus", "prometheus"],
    ["chromium", "chromium"],
    ["gcc", "gcc"],
    ["python3-venv", "python3"],
  ]) {
    const reason = await ensureSystemPackage({ package: name, command });
    if (reason !== undefined) say(`tests that need it are skipped: ${reason}`);
  }
}

/** Python packages that tests check against: tritonclient, scipy, onnxruntime. */
async function pythonPackages() {
  const venv = join(root, "test/.venv");
  const list = readFileSync(join(root, "test/requirements.txt"));
  const digest = createHash("sha256").update(list).digest("hex");
  const stamp = join(venv, ".crosscheck-packages");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === digest) return undefined;
  const made = await runQuietly(["python3", "-m", "venv", venv], { label: "python" });
  if (made !== 0) return "Python 3 with venv (system package python3-venv)";
  const installed = await runQuietly(
    [join(venv, "bin/python"), "-m", "pip", "install", "--quiet", "-r", join(root, "test/requirements.txt")],
    { label: "python" },
  );
  if (installed !== 0) return "the Python packages of test/requirements.txt (pip failed)";
  writeFileSync(stamp, digest);
  return undefined;
}

async function family(name, compilers) {
  if (!existsSync(join(root, "engines", name, "family.yaml"))) return undefined;
  const code = await runQuietly([process.execPath, join(root, "bin/crosscheck.mjs"), "setup", ...compilers], {
    label: name,
  });
  return code === 0 ? undefined : `${compilers.join(", ")} (npx crosscheck setup ${compilers.join(" ")})`;
}
