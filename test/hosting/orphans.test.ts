import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { hostEnv, hosts, isAlive, temporaryFolder, textArtifact, tsx, until } from "./_pool.ts";

const program = path.join(import.meta.dirname, "programs/gateway.ts");

async function gateway(
  env: NodeJS.ProcessEnv,
  command: readonly string[] = hosts.python,
): Promise<{ readonly gateway: ChildProcess; readonly pids: readonly number[] }> {
  const fields = JSON.stringify({ command, env, artifact: textArtifact("artifact") });
  const child = spawn(process.execPath, ["--import", tsx, program, fields], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`the gateway ended with ${String(code)}`);
  });
  ended.catch(() => {});
  const [line] = (await Promise.race([once(createInterface(child.stdout), "line"), ended])) as [string];
  const pids = JSON.parse(line) as number[];
  onTestFinished(() => {
    for (const pid of pids.filter(isAlive)) process.kill(pid, "SIGKILL");
  });
  return { gateway: child, pids };
}

test("no host outlives a killed gateway: not a waiting, a stopped or a looping one", async () => {
  const { gateway: parent, pids } = await gateway(hostEnv());
  expect(pids.map(isAlive)).toEqual([true, true, true]);
  await until(() => fs.readFileSync(`/proc/${pids[1]}/stat`, "latin1").includes(") T"));
  parent.kill("SIGKILL");
  await until(() => !pids.some(isAlive));
});

test("nor where setpriv is missing: the host library asks the kernel itself", async () => {
  // An empty PATH; the interpreter behind a version manager's shim must then be named in full.
  const print = ["-c", "import sys; print(sys.executable)"];
  const python = spawnSync("python3", print, { encoding: "utf8" }).stdout.trim();
  const env = { ...hostEnv(), PATH: temporaryFolder() };
  const { gateway: parent, pids } = await gateway(env, [python, ...hosts.python.slice(1)]);
  await until(() => fs.readFileSync(`/proc/${pids[1]}/stat`, "latin1").includes(") T"));
  parent.kill("SIGKILL");
  await until(() => !pids.some(isAlive));
});

test("hosts are in the gateway's session, where an idle class counts, and go on after its Ctrl-C", async () => {
  const { gateway: parent, pids } = await gateway(hostEnv());
  const session = (pid: number | undefined): string | undefined =>
    fs.readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ")[3];
  expect(pids.map(session)).toEqual(pids.map(() => session(parent.pid)));
  for (const pid of pids) process.kill(pid, "SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(pids.map(isAlive)).toEqual([true, true, true]);
});
