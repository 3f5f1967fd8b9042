import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { endThread, startThread } from "../../src/core/worker-thread.ts";
import { idleThreads } from "./_threads.ts";

/** A thread of the idle class that cannot end before it is let. */
async function stuckThread(): Promise<{
  thread: Worker;
  ended: () => boolean;
  release: () => Promise<unknown>;
}> {
  const folder = mkdtempSync(join(tmpdir(), "crosscheck-thread-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const gate = join(folder, "gate");
  execFileSync("mkfifo", [gate]);
  const thread = startThread("programs/stuck-thread", import.meta.url, folder);
  let ended = false;
  const exit = once(thread, "exit").finally(() => (ended = true));
  await expect.poll(() => existsSync(join(folder, "started"))).toBe(true);
  return {
    thread,
    ended: () => ended,
    async release() {
      await writeFile(gate, "go\n");
      return exit;
    },
  };
}

/** CAP_SYS_NICE, the 23rd bit. */
function mayRaisePriority(): boolean {
  const [, capabilities = "0"] = /^CapEff:\s*(\w+)/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return (BigInt(`0x${capabilities}`) & (1n << 23n)) !== 0n;
}

test.runIf(process.platform === "linux")(
  "the end of a thread that gets no time to end is not waited for",
  async () => {
    const { thread, ended, release } = await stuckThread();
    await endThread(thread);
    expect(ended()).toBe(false);
    await release();
    expect(ended()).toBe(true);
  },
);

test.runIf(process.platform === "linux" && mayRaisePriority())(
  "a thread that is to end leaves the idle class, in which it might get no time to",
  async () => {
    const { thread, release } = await stuckThread();
    expect(idleThreads()).toBe(1);
    const ending = endThread(thread);
    expect(idleThreads()).toBe(0);
    await release();
    await ending;
  },
);
