// A gateway as far as this test needs one: it starts hosts, puts one to sleep and one into a loop, tells their process ids
// and waits to be killed.
import { systemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { createPool } from "../../../src/hosting/pool.ts";

const { command, env, artifact } = JSON.parse(process.argv[2] ?? "{}") as {
  command: string[];
  env: Record<string, string>;
  artifact: { path: string; sha256: string };
};

const pids: (number | undefined)[] = [];
for (const deed of [undefined, 8, 2]) {
  const pool = createPool({
    label: { model: "m", engine: "e" },
    host: { command, workingDirectory: "/", env },
    artifact,
    manifest: { tensors: [{ name: "command", datatype: "UINT8", shape: [1] }] },
    directory: "/",
    threads: 1,
    instances: { min: 1, max: 1 },
    priority: deed === 2 ? "shadow" : "serving",
    watchdogMs: 600_000,
    clock: systemClock,
    log: silentLog,
  });
  await pool.start();
  pids.push(pool.processes[0]?.pid);
  if (deed !== undefined) {
    const inputs = [{ name: "command", datatype: "UINT8" as const, shape: [1], data: Uint8Array.of(deed) }];
    pool.infer({ inputs }).catch(() => {});
  }
}
setTimeout(() => console.log(JSON.stringify(pids)), 100);
setTimeout(() => {}, 3_600_000);
