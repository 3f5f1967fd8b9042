import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { allowedCores, coresOf } from "../../src/core/cores.ts";
import { HostCores } from "../../src/hosting/host-cores.ts";
import { commandOnly, type TestPool, testPool, until } from "./_pool.ts";

const [first = 0, second] = process.platform === "linux" ? allowedCores() : [];

/** What each thread of the pool's only host may use. */
function coresOfHost({ pool }: TestPool): number[][] {
  const threads = readdirSync(`/proc/${pool.processes[0]?.pid}/task`);
  return threads.map((thread) => coresOf(Number(thread)));
}

test.skipIf(second === undefined)(
  "where the serving thread has one core, hosts keep to the other while they fit there",
  async () => {
    const [both, other] = [[first, second as number], [second as number]];
    const cores = new HostCores({ all: both, serving: [first], shadow: other });
    const open = (threads: number): TestPool => testPool("python", commandOnly, { cores, threads });
    const [one, two, wide] = [open(1), open(1), open(2)];
    const expectCores = (host: TestPool, expected: readonly number[]): void => {
      const found = coresOfHost(host);
      expect(found.length).toBeGreaterThan(0);
      for (const of of found) expect(of).toEqual(expected);
    };

    await one.pool.start();
    expectCores(one, other);
    await two.pool.start();
    expectCores(one, both);
    expectCores(two, both);
    await one.pool.close();
    expectCores(two, other);

    // One that comes back after a loss is another process.
    const pid = two.pool.processes[0]?.pid as number;
    process.kill(pid, "SIGKILL");
    await until(() => two.events.some(({ type }) => type === "restarted"));
    expect(two.pool.processes[0]?.pid).not.toBe(pid);
    expectCores(two, other);

    await two.pool.close();
    await wide.pool.start();
    expectCores(wide, both);
  },
);
