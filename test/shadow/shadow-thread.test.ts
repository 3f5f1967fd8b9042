import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test, vi } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { Runner } from "../../src/core/engine.ts";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import type { Log } from "../../src/core/log.ts";
import { createSpareTime } from "../../src/core/spare-time.ts";
import type { PoolEvent } from "../../src/hosting/pool.ts";
import type { SentPoolOptions } from "../../src/shadow/messages.ts";
import type { ShadowAnswer, ShadowJob } from "../../src/shadow/run-job.ts";
import { createShadowThread } from "../../src/shadow/shadow-thread.ts";
import { childrenOf } from "../_processes.ts";
import { threads } from "../core/_threads.ts";
import {
  command,
  commandOnly,
  commands,
  hostEnv,
  hosts,
  isAlive,
  textArtifact,
  until,
} from "../hosting/_pool.ts";

vi.mock("node:worker_threads", async (original) =>
  (await import("../core/_threads.ts")).notingThreads(original),
);
/** A thread, with pools of hosts that give back what they are given; closed when the test ends. */
function open({ limitSeconds = 30 } = {}) {
  const load = new LiveLoadCounter();
  const lines: string[] = [];
  const errors: string[] = [];
  const events: PoolEvent[] = [];
  const add = (_: object, message: string) => void lines.push(message);
  const log: Log = {
    debug: add,
    info: add,
    warn: add,
    error: (_, message) => void errors.push(message),
    child: () => log,
  };
  const thread = createShadowThread({
    load: load.memory,
    spareTime: createSpareTime(load),
    clock: systemClock,
    log,
    limitSeconds,
  });
  onTestFinished(() => thread.close());
  const pool = (change: Partial<SentPoolOptions> = {}) =>
    thread.openPool(
      {
        label: { model: "m", engine: "e" },
        host: { command: hosts.python, workingDirectory: "/", env: hostEnv() },
        artifact: textArtifact("artifact text"),
        manifest: commandOnly,
        directory: "/",
        threads: 1,
        instances: { min: 1, max: 1 },
        priority: "shadow",
        ...change,
      },
      (event) => events.push(event),
    );
  const jobOf = (runners: readonly Runner[], code: number, change: Partial<ShadowJob<Runner>> = {}) => ({
    hosts: runners,
    inputs: [command(code)],
    reply: [{ ...command(code), name: "command-out" }],
    base: 0,
    replied: 0,
    options: { task: "tensor" } as const,
    maxUtilization: 1,
    idleSeconds: Infinity,
    patienceSeconds: 20,
    ...change,
  });
  const run = async (...given: Parameters<typeof jobOf>) => {
    const [answer] = await thread.run([jobOf(...given)]);
    return answer as ShadowAnswer;
  };
  return { thread, load, lines, errors, events, pool, jobOf, run };
}

/** The host processes of all of this process's threads. */
function hostsAlive(): number[] {
  return childrenOf("self").filter(isAlive);
}

test("runs on real hosts and compares, with times of the gateway's clock", async () => {
  const { pool, run, lines } = open();
  const [a, b] = [pool(), pool()];
  const info = await a.start();
  await b.start();
  expect(info.inputs).toEqual(commandOnly.tensors);
  expect(lines).toContain("artifact: artifact text");
  expect([a.healthy, a.pending, a.failure, a.processes.length]).toEqual([1, 0, undefined, 1]);
  expect(a.residentBytes()).toBeGreaterThan(1_000_000);

  const before = systemClock.seconds();
  const answer = await run([a, b], commands.nothing);
  const after = systemClock.seconds();
  expect(answer).toMatchObject({
    runs: [{ place: 0 }, { place: 1 }],
    busy: false,
    comparisons: [
      { reference: 0, candidate: 1, difference: { result: "bit_equal" } },
      { reference: 0, candidate: 0, difference: { result: "bit_equal" } },
    ],
    error: undefined,
  });
  for (const { startedSeconds, endedSeconds, engineSeconds } of answer.runs) {
    expect(startedSeconds).toBeGreaterThan(before);
    expect(endedSeconds).toBeGreaterThan(startedSeconds);
    expect(endedSeconds).toBeLessThan(after);
    expect(engineSeconds).toBeGreaterThan(0);
  }
  await a.close();
  expect([a.healthy, a.processes]).toEqual([0, []]);
  // It is away; the other is not.
  expect((await run([a, b], commands.nothing)).runs).toMatchObject([{ place: 1 }]);
});

test("sees live requests that come and are not answered", async () => {
  const { pool, run, load } = open();
  const one = pool();
  await one.start();
  load.begin();
  expect(await run([one], commands.nothing, { patienceSeconds: 0.05 })).toMatchObject({
    runs: [],
    busy: true,
  });
  const waiting = run([one], commands.nothing);
  load.end();
  expect((await waiting).runs).toHaveLength(1);
});

test("several at a time are answered in their order; the rest of them wait for no idle moment that did not come", async () => {
  const { thread, pool, jobOf, load } = open();
  const [a, b] = [pool(), pool()];
  await a.start();
  await b.start();
  const one = jobOf([a], commands.nothing);
  const answers = [...(await thread.run([one, jobOf([b, a], commands.nothing), jobOf([a], commands.fail)]))];
  expect(answers.map(({ runs }) => runs.map(({ error }) => error?.class))).toEqual([
    [undefined],
    [undefined, undefined],
    ["GatewayError"],
  ]);
  load.begin();
  const impatient = jobOf([a], commands.nothing, { patienceSeconds: 0.05 });
  expect([...(await thread.run([impatient, one]))]).toMatchObject([
    { runs: [], busy: true },
    { runs: [], busy: true },
  ]);
});

test("errors come back as what they are", async () => {
  const { pool, run } = open();
  const one = pool();
  const infer = (code: number) => one.infer({ inputs: [command(code)] });
  await expect(infer(commands.nothing)).rejects.toMatchObject({
    name: "HostLostError",
    reason: "unavailable",
  });
  await one.start();
  await expect(infer(commands.refuse)).rejects.toMatchObject({ name: "GatewayError", code: "invalid" });
  await expect(infer(commands.fail)).rejects.toMatchObject({ name: "GatewayError", code: "engineFailed" });
  expect((await run([one], commands.fail)).runs[0]?.error).toMatchObject({
    class: "GatewayError",
    code: "engineFailed",
  });
  const refusing = pool({ manifest: { ...commandOnly, refuse: true } });
  await expect(refusing.start()).rejects.toMatchObject({ name: "GatewayError", code: "conflict" });
  expect(refusing.failure).toBeDefined();
});

test("a host that is lost is started again, and the proxy knows", async () => {
  const { pool, events } = open();
  const one = pool();
  await one.start();
  const [before] = hostsAlive();
  await expect(one.infer({ inputs: [command(commands.killItself)] })).rejects.toMatchObject({
    name: "HostLostError",
    reason: "exited",
  });
  await expect.poll(() => events.map(({ type }) => type)).toEqual(["lost", "restarted"]);
  expect([one.healthy, one.failure, one.processes.length]).toEqual([1, undefined, 1]);
  // The process itself: two of them may be of one size.
  expect(before).toBeDefined();
  expect(hostsAlive()).not.toContain(before);
  await one.infer({ inputs: [command(commands.nothing)] });
});

test("a lost thread takes its hosts along; its pools have failed, and the next one is in another thread", async () => {
  const { pool, run, errors } = open();
  const one = pool();
  await one.start();
  const alive = hostsAlive();
  expect(alive).toHaveLength(1);
  // Deaf to SIGTERM and to the end of its socket, as a host in a long run is.
  const looping = run([one], commands.loop);
  const failed = expect(looping).rejects.toThrow("the shadow thread was lost: it ended");
  await new Promise((resolve) => setTimeout(resolve, 200));
  await threads[0]?.terminate();
  await failed;
  await until(() => !alive.some(isAlive));
  expect([one.healthy, one.processes]).toEqual([0, []]);
  expect(one.failure).toContain("the shadow thread was lost");
  await expect(one.infer({ inputs: [command(0)] })).rejects.toMatchObject({ reason: "unavailable" });
  await expect(run([one], commands.nothing)).rejects.toThrow("the shadow thread has been lost");
  await one.close();
  // Whoever waited for the job tells of it.
  expect(errors).toEqual([]);

  const next = pool();
  await next.start();
  expect((await run([next], commands.nothing)).runs).toHaveLength(1);
  expect(threads).toHaveLength(2);
  await threads[1]?.terminate();
  await expect.poll(() => errors).toEqual(["the shadow thread was lost"]);
});

test("a thread that is stuck is ended; one that waits for its hosts is not", async () => {
  const { pool, run } = open({ limitSeconds: 2 });
  const one = pool();
  await one.start();
  const slow = Array.from({ length: 25 }, () => one);
  expect((await run(slow, commands.slow)).runs).toHaveLength(25);
  vi.spyOn(threads[0] as Worker, "postMessage").mockImplementation(() => {});
  await expect(run([one], commands.nothing)).rejects.toThrow("it has not answered within 2 s");
  await until(() => hostsAlive().length === 0);
});

test("closing waits for nothing that is under way, and refuses what comes", async () => {
  const { thread, pool, run, errors } = open();
  const one = pool();
  await one.start();
  const looping = run([one], commands.loop);
  const failed = expect(looping).rejects.toThrow("the gateway is shutting down");
  await thread.close();
  await failed;
  await until(() => hostsAlive().length === 0);
  await one.close();
  await expect(pool().start()).rejects.toMatchObject({ reason: "unavailable" });
  expect(errors).toEqual([]);
});
