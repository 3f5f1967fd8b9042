// System packages that tests need (redis-server, prometheus, chromium): installed only as root and only when CI or the
// user (CROSSCHECK_INSTALL=1) says so; otherwise the caller gets the reason to skip. In CI a missing one is a failure.
import { spawnSync } from "node:child_process";

const wanted = process.env.CI === "true" || process.env.CROSSCHECK_INSTALL === "1";

/** @returns undefined when the command is there, otherwise why not. @throws in CI when it cannot be had. */
export async function ensureSystemPackage({ package: name, command }) {
  if (has(command)) return undefined;
  const reason = !wanted
    ? `"${command}" is not installed; install the system package ${name}, or set CROSSCHECK_INSTALL=1 as root`
    : install(name, command);
  if (reason !== undefined && process.env.CI === "true") throw new Error(reason);
  return reason;
}

function has(command) {
  return spawnSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" }).status === 0;
}

function install(name, command) {
  if (process.getuid?.() !== 0) return `"${command}" is missing and installing ${name} needs root`;
  const apt = (args) =>
    // Another test file may be installing at the same moment: apt waits for the lock.
    spawnSync("apt-get", ["-o", "DPkg::Lock::Timeout=300", "-y", "-qq", ...args], {
      encoding: "utf8",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  let result = apt(["install", "--no-install-recommends", name]);
  if (result.status !== 0) {
    apt(["update"]);
    result = apt(["install", "--no-install-recommends", name]);
  }
  if (has(command)) return undefined;
  return `installing ${name} failed: ${(result.stderr || result.error?.message || "").trim().slice(-500)}`;
}
