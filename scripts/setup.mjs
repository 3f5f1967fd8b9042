// What every command needs before it can run: the right Node, the npm packages, the build. Idempotent and, when nothing
// is to do, fast: each step is skipped when the digest of what it depends on is the one it last ran with.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const leastNode = [20, 19];
const started = performance.now();

/** A line of progress with the time gone by, on standard error: standard output belongs to the command. */
export function say(message) {
  process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(0).padStart(3)}s] ${message}\n`);
}

export function fail(message) {
  process.stderr.write(`crosscheck: ${message}\n`);
  process.exit(1);
}

/** Installs and builds what is missing or stale. */
export async function setup() {
  checkNode();
  await installPackages();
  await build();
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < leastNode[0] || (major === leastNode[0] && minor < leastNode[1]))
    fail(`Node ${process.versions.node} is too old; install Node >= ${leastNode.join(".")}`);
}

async function installPackages() {
  if (lockSatisfied()) return;
  say("installing npm packages (once; about 500 MB, most of it runtimes)");
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
  // Not `npm ci`: it refuses a lock file in which another platform's optional binaries are missing, which is what
  // registries that do not carry them all produce. `npm install` keeps to the lock file just the same.
  await run([...npm, "install", "--no-save", "--no-fund", "--no-audit", "--loglevel=error"], {
    label: "npm",
    remedy: "check the network and the npm registry setting, then run the command again",
  });
}

/** What is installed (npm's own record of it) is what the lock file asks for. */
function lockSatisfied() {
  const packages = (file) => {
    const path = join(root, file);
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).packages : undefined;
  };
  const installed = packages("node_modules/.package-lock.json");
  if (!installed) return false;
  return Object.entries(packages("package-lock.json")).every(
    ([path, { version, optional }]) => path === "" || optional || installed[path]?.version === version,
  );
}

async function build() {
  const stamp = join(root, "dist", ".crosscheck-build");
  const sources = ["src", "engines", "grafana"].flatMap((folder) => sourceFiles(join(root, folder)));
  const digest = digestOf(["tsconfig.json", "tsconfig.build.json", "package-lock.json", ...sources]);
  if (readStamp(stamp) === digest) return;
  say("building TypeScript");
  removeInterrupted();
  // Built beside and swapped in whole: hosts that start meanwhile find the old build or the new one.
  const fresh = join(root, `dist.new-${process.pid}`);
  await run(
    [
      process.execPath,
      join(root, "node_modules/typescript/bin/tsc"),
      "-p",
      "tsconfig.build.json",
      "--outDir",
      fresh,
    ],
    { label: "tsc", remedy: "the errors above are in the sources" },
  );
  writeFileSync(join(fresh, ".crosscheck-build"), digest);
  const old = join(root, `dist.old-${process.pid}`);
  if (existsSync(join(root, "dist"))) renameSync(join(root, "dist"), old);
  renameSync(fresh, join(root, "dist"));
  rmSync(old, { recursive: true, force: true });
}

/** What builds left that were ended midway: folders of processes that are gone. */
function removeInterrupted() {
  for (const name of readdirSync(root)) {
    const [, pid] = /^dist\.(?:new|old)-(\d+)$/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(root, name), { recursive: true, force: true });
  }
}

/** Runs a command, its output line by line behind a label. Rejects nowhere: a failure ends the process with the remedy. */
export async function run(command, { label, remedy, env = {} }) {
  const code = await runQuietly(command, { label, env });
  if (code !== 0) fail(`${label}: "${command.join(" ")}" ended with ${code}; ${remedy}`);
}

/** The same, but its exit code is returned. */
export function runQuietly(command, { label, env = {}, onLine = (line) => say(labelled(label, line)) }) {
  return new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text) => {
        const lines = (rest + text).split(/[\r\n]+/);
        rest = lines.pop();
        for (const line of lines) if (line.trim()) onLine(line.trimEnd());
      });
      stream.on("end", () => rest.trim() && onLine(rest.trimEnd()));
    }
    child.on("error", (error) => {
      onLine(error.message);
      resolve(127);
    });
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
}

/** A line that begins with its label already is left as it is. */
function labelled(label, line) {
  return line.startsWith(label) ? line : `${label}: ${line}`;
}

function sourceFiles(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith(".") && entry.name !== "node_modules")
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return sourceFiles(path);
      return /\.(ts|json)$/.test(entry.name) ? [relative(root, path)] : [];
    });
}

function digestOf(files) {
  const hash = createHash("sha256");
  for (const file of files.toSorted()) {
    const path = join(root, file);
    hash.update(`${file}\0`);
    if (existsSync(path)) hash.update(readFileSync(path));
  }
  return hash.digest("hex");
}

function readStamp(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
