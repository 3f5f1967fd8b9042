import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Cancellation } from "../../src/core/cancellation.ts";
import type { EngineResult } from "../../src/core/engine.ts";
import { datatypes, type TensorSpec } from "../../src/core/tensor.ts";
import {
  command,
  commandOnly,
  commands,
  isAlive,
  temporaryFolder,
  tensor,
  testPool,
  textArtifact,
  until,
} from "./_pool.ts";

describe.each(["typescript", "python"] as const)("the %s host library", (host) => {
  test("carries every datatype at ranks 0 to 6, several tensors at once", async () => {
    const tensors: TensorSpec[] = datatypes.map((datatype, index) => ({
      name: `t${index}`,
      datatype,
      shape: [2, 1, 3, 2, 1, 2].slice(0, index % 7),
    }));
    const { pool, lines } = testPool(host, { tensors });
    const info = await pool.start();
    expect(info.inputs).toEqual(tensors);
    expect(lines).toContain("artifact: artifact text");
    for (const fill of [1, 7]) {
      const inputs = tensors.map(({ name, datatype, shape }) => tensor(name, datatype, shape, fill));
      const { outputs, engineSeconds, hostSeconds, queueSeconds } = await pool.infer({ inputs });
      expect(outputs.map(({ data }) => [...data])).toEqual(inputs.map(({ data }) => [...data]));
      expect(outputs.map(({ shape }) => shape)).toEqual(tensors.map(({ shape }) => shape));
      expect(outputs[0]?.name).toBe("t0-out");
      expect(engineSeconds).toBeGreaterThan(0);
      expect(hostSeconds).toBeGreaterThan(engineSeconds);
      expect(queueSeconds).toBeGreaterThanOrEqual(0);
    }
  });

  test("takes dynamic shapes, grows the shared memory for them, and empty tensors", async () => {
    const tensors: TensorSpec[] = [
      { name: "x", datatype: "FP32", shape: [-1, 3] },
      { name: "y", datatype: "INT64", shape: [-1], bounds: [[0, 100]] },
    ];
    const { pool } = testPool(host, { tensors });
    await pool.start();
    for (const rows of [1, 50_000, 0, 7, 200_000, 2]) {
      const inputs = [tensor("x", "FP32", [rows, 3], rows), tensor("y", "INT64", [rows % 101])];
      const { outputs } = await pool.infer({ inputs });
      expect(outputs[0]?.shape).toEqual([rows, 3]);
      expect(Buffer.compare(outputs[0]?.data ?? Buffer.alloc(0), inputs[0]?.data ?? Buffer.alloc(0))).toBe(0);
      expect(outputs[1]?.shape).toEqual([rows % 101]);
    }
    await expect(
      pool.infer({ inputs: [tensor("x", "FP32", [1, 3]), tensor("y", "INT64", [101])] }),
    ).rejects.toThrow(/"y" has shape \[101\].*bounds/);
  });

  test("grows while others are in flight and loses none of them", async () => {
    const { pool } = testPool(host, { tensors: [{ name: "x", datatype: "UINT8", shape: [-1] }] });
    await pool.start();
    const sizes = Array.from({ length: 60 }, (_, index) => (index % 7 === 0 ? 10_000 * index : index + 1));
    const results = await Promise.all(
      sizes.map((size) => pool.infer({ inputs: [tensor("x", "UINT8", [size], size)] })),
    );
    for (const [index, { outputs }] of results.entries()) {
      const size = sizes[index] as number;
      expect(Buffer.from(outputs[0]?.data ?? []).equals(tensor("x", "UINT8", [size], size).data)).toBe(true);
    }
  });

  test("gives the outputs asked for, in the order asked", async () => {
    const tensors = ["a", "b", "c"].map((name) => ({ name, datatype: "FP32", shape: [2] }));
    const { pool } = testPool(host, { tensors });
    await pool.start();
    const inputs = ["a", "b", "c"].map((name, fill) => tensor(name, "FP32", [2], fill));
    // Inputs may come in any order as well.
    const { outputs } = await pool.infer({ inputs: inputs.toReversed(), outputs: ["c-out", "a-out"] });
    expect(outputs.map(({ name }) => name)).toEqual(["c-out", "a-out"]);
    expect([...(outputs[0]?.data ?? [])]).toEqual([...(inputs[2]?.data ?? [])]);
    expect([...(outputs[1]?.data ?? [])]).toEqual([...(inputs[0]?.data ?? [])]);
  });

  test("answers errors of the engine and goes on", async () => {
    const { pool, events } = testPool(host, commandOnly);
    await pool.start();
    await expect(pool.infer({ inputs: [command(commands.fail)] })).rejects.toMatchObject({
      code: "engineFailed",
      message: expect.stringContaining("the engine stumbled") as string,
    });
    await expect(pool.infer({ inputs: [command(commands.refuse)] })).rejects.toMatchObject({
      code: "invalid",
      message: "that is no input",
    });
    await expect(pool.infer({ inputs: [command(commands.nothing)] })).resolves.toBeDefined();
    expect(events).toEqual([]);
  });

  test("refuses to load with a reason and a remedy", async () => {
    const { pool } = testPool(host, { ...commandOnly, refuse: true });
    await expect(pool.start()).rejects.toMatchObject({
      code: "conflict",
      message: "it will not; ask another",
    });
  });

  test("floods its standard error without hurting anybody", async () => {
    const { pool, lines } = testPool(host, commandOnly);
    await pool.start();
    await pool.infer({ inputs: [command(commands.spam)] });
    await pool.infer({ inputs: [command(commands.nothing)] });
    await until(() => lines.some((line) => line.startsWith("xxxx")));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(2000);
    expect(lines.length).toBeLessThan(250);
  });

  test("answers PING and ends with UNLOAD", async () => {
    const { pool } = testPool(host, commandOnly);
    await pool.start();
    expect(await pool.ping()).toEqual([{ deviceBytes: 7 }]);
    expect(pool.residentBytes()).toBeGreaterThan(1e6);
    const { pid } = pool.processes[0] ?? {};
    await pool.close();
    expect(isAlive(pid as number)).toBe(false);
    await expect(pool.infer({ inputs: [command(commands.nothing)] })).rejects.toMatchObject({
      reason: "unavailable",
    });
  });

  test.each(["exit", "killItself", "loop", "stop"] as const)(
    "is replaced after %s; only the request that ran is lost",
    async (deed) => {
      const { pool, events } = testPool(host, commandOnly, { watchdogMs: 500 });
      await pool.start();
      const before = pool.processes[0]?.pid as number;
      const killer = pool.infer({ inputs: [command(commands[deed])] });
      const innocent = pool.infer({ inputs: [command(commands.nothing)] });
      const reason = deed === "loop" || deed === "stop" ? "hung" : "exited";
      await expect(killer).rejects.toMatchObject({ name: "HostLostError", reason });
      // The other one never ran and may go elsewhere; back here it waits for the restart.
      await expect(innocent).rejects.toMatchObject({ name: "HostLostError", reason: "unavailable" });
      expect(pool.healthy).toBe(0);
      await expect(pool.infer({ inputs: [command(commands.nothing)] })).resolves.toBeDefined();
      expect(pool.healthy).toBe(1);
      await until(() => !isAlive(before));
      expect(pool.processes[0]?.pid).not.toBe(before);
      expect(events.map(({ type }) => type)).toEqual(["lost", "restarted"]);
    },
  );
});

test("answers many requests at once, each its own", async () => {
  const { pool } = testPool("typescript", { tensors: [{ name: "x", datatype: "INT32", shape: [1] }] });
  await pool.start();
  const ask = async (value: number): Promise<void> => {
    const data = new Uint8Array(Int32Array.of(value).buffer);
    const { outputs } = await pool.infer({ inputs: [{ name: "x", datatype: "INT32", shape: [1], data }] });
    expect([...(outputs[0]?.data ?? [])]).toEqual([...data]);
  };
  await Promise.all(Array.from({ length: 500 }, (_, value) => ask(value)));
});

describe("requests that do not fit", () => {
  const tensors = [{ name: "x", datatype: "FP32", shape: [2, 2] }];
  test.each([
    ["a wrong name", { inputs: [tensor("z", "FP32", [2, 2])] }, /input "x" is missing/],
    ["a wrong datatype", { inputs: [tensor("x", "FP64", [2, 2])] }, /"x" is FP64; the engine takes FP32/],
    ["a wrong shape", { inputs: [tensor("x", "FP32", [2, 3])] }, /"x" has shape \[2, 3\]/],
    ["a wrong rank", { inputs: [tensor("x", "FP32", [4])] }, /"x" has shape \[4\]/],
    [
      "a wrong size",
      { inputs: [{ ...tensor("x", "FP32", [2, 2]), data: new Uint8Array(3) }] },
      /"x" has 3 bytes/,
    ],
    ["too few inputs", { inputs: [] }, /0 inputs are given/],
    ["an unknown output", { inputs: [tensor("x", "FP32", [2, 2])], outputs: ["no"] }, /output "no" does not/],
    [
      "an output twice",
      { inputs: [tensor("x", "FP32", [2, 2])], outputs: ["x-out", "x-out"] },
      /asked for twice/,
    ],
  ])("%s is the client's mistake", async (_, request, message) => {
    const { pool, events } = testPool("typescript", { tensors });
    await pool.start();
    await expect(pool.infer(request)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(message) as string,
    });
    expect(events).toEqual([]);
  });
});

describe("cancelling", () => {
  test("a waiting request leaves the queue, a running one keeps its slot until it is answered", async () => {
    const { pool } = testPool("typescript", commandOnly);
    await pool.start();
    const waits = Array.from({ length: 4 }, () => new Cancellation());
    const results = waits.map((cancellation) =>
      pool.infer({ inputs: [command(commands.slow)], cancellation }),
    );
    expect(pool.pending).toBe(2);
    waits[3]?.cancel(new Error("no patience"));
    expect(pool.pending).toBe(1);
    waits[0]?.cancel(new Error("no patience"));
    await expect(results[3]).rejects.toThrow("no patience");
    await expect(results[0]).rejects.toThrow("no patience");
    const rest = (await Promise.all([results[1], results[2]])) as EngineResult[];
    expect(rest.map(({ outputs }) => outputs[0]?.data[0])).toEqual([commands.slow, commands.slow]);
    expect(rest[1]?.queueSeconds).toBeGreaterThan(0.05);
  });

  test("what was cancelled before is refused at once", async () => {
    const { pool } = testPool("typescript", commandOnly);
    await pool.start();
    const cancellation = new Cancellation();
    cancellation.cancel(new Error("too late"));
    await expect(pool.infer({ inputs: [command(0)], cancellation })).rejects.toThrow("too late");
  });
});

describe("closing", () => {
  test("answers what is queued first", async () => {
    const { pool } = testPool("typescript", commandOnly);
    await pool.start();
    const results = Array.from({ length: 5 }, () => pool.infer({ inputs: [command(commands.slow)] }));
    await Promise.all([pool.close(), pool.close()]);
    expect(await Promise.allSettled(results)).toEqual(
      results.map(() => expect.objectContaining({ status: "fulfilled" }) as unknown),
    );
  });

  test.each([
    [
      "gives up on what is not answered in time and kills what does not go",
      { drainSeconds: 0.2, watchdogMs: 60_000 },
    ],
    ["does not wait for shadow hosts", { priority: "shadow", drainSeconds: 3600, watchdogMs: 3_600_000 }],
  ] as const)("%s", async (_, options) => {
    const { pool } = testPool("typescript", commandOnly, options);
    await pool.start();
    const pid = pool.processes[0]?.pid as number;
    process.kill(pid, "SIGSTOP");
    const result = pool.infer({ inputs: [command(commands.nothing)] });
    result.catch(() => {});
    await pool.close();
    await expect(result).rejects.toMatchObject({ reason: "unavailable" });
    expect(isAlive(pid)).toBe(false);
  });
});

test("an engine whose hosts die 5 times without an answer between has failed", async () => {
  const { pool, events } = testPool("typescript", commandOnly);
  await pool.start();
  for (let death = 0; death < 5; death += 1) {
    await expect(pool.infer({ inputs: [command(commands.exit)] })).rejects.toMatchObject({
      reason: "exited",
    });
  }
  await until(() => pool.failure !== undefined);
  expect(pool.failure).toMatch(/5 times.*exited with 3/);
  expect(events.filter(({ type }) => type === "restarted")).toHaveLength(4);
  expect(events.at(-1)?.type).toBe("failed");
  await expect(pool.infer({ inputs: [command(commands.nothing)] })).rejects.toMatchObject({
    reason: "unavailable",
    message: expect.stringContaining("5 times") as string,
  });
});

test("deaths with answers between never add up", async () => {
  const { pool } = testPool("python", commandOnly);
  await pool.start();
  for (let death = 0; death < 7; death += 1) {
    await expect(pool.infer({ inputs: [command(commands.killItself)] })).rejects.toMatchObject({
      reason: "exited",
    });
    await pool.infer({ inputs: [command(commands.nothing)] });
  }
  expect(pool.failure).toBeUndefined();
});

describe("instances", () => {
  test("a second one takes over at once when the first is lost", async () => {
    const { pool } = testPool("python", commandOnly, { instances: { min: 2, max: 2 } });
    await pool.start();
    expect(pool.healthy).toBe(2);
    const killer = pool.infer({ inputs: [command(commands.exit)] });
    const others = Array.from({ length: 6 }, () => pool.infer({ inputs: [command(commands.slow)] }));
    await expect(killer).rejects.toMatchObject({ reason: "exited" });
    await Promise.all(others);
    await until(() => pool.healthy === 2);
  });

  test("grow with the queue and shrink when idle", async () => {
    const { pool } = testPool("python", commandOnly, { instances: { min: 1, max: 2 }, idleSeconds: 0.3 });
    await pool.start();
    const used = new Set<number>();
    while (used.size < 2) {
      const results = await Promise.all(
        Array.from({ length: 8 }, () => pool.infer({ inputs: [command(commands.slow)] })),
      );
      for (const { instance } of results) used.add(instance);
    }
    expect(pool.healthy).toBe(2);
    await until(() => pool.healthy === 1);
    await pool.infer({ inputs: [command(commands.nothing)] });
  });
});

describe("a host that breaks the protocol", () => {
  const faults =
    "magic type status generation slot sequence payload count index datatype rank offset bytes shape negative early text cut tooLarge truncate closed";
  test.each(faults.split(" "))("is killed and replaced: %s", async (fault) => {
    const once = path.join(temporaryFolder(), "once");
    const { pool, events } = testPool("rogue", { fault, once });
    await pool.start();
    const request = { inputs: [tensor("x", "FP32", [4])] };
    const first = pool.infer(request).catch((error: unknown) => error);
    // An answer too many is seen when it comes, after the right one.
    if (fault === "early") await until(() => events.length > 0);
    else expect(await first).toMatchObject({ name: "HostLostError", reason: "garbage" });
    const { outputs } = await pool.infer(request);
    expect([...(outputs[0]?.data ?? [])]).toEqual([...(request.inputs[0]?.data ?? [])]);
    expect(events[0]).toMatchObject({ type: "lost", reason: "garbage" });
  });

  test.each(["loadText", "loadShape", "mapStatus", "loadStopped", "loadKilled"])(
    "or is killed or stopped while it loads, is started again: %s",
    async (fault) => {
      const { pool, events } = testPool("rogue", { fault, once: path.join(temporaryFolder(), "once") });
      await pool.start();
      await pool.infer({ inputs: [tensor("x", "FP32", [4])] });
      expect(events.map(({ type }) => type)).toEqual(["lost", "restarted"]);
    },
  );

  test("does not load in time", async () => {
    const { pool, events } = testPool(
      "rogue",
      { fault: "loadSilence", once: path.join(temporaryFolder(), "once") },
      { startTimeoutSeconds: 2 },
    );
    await pool.start();
    expect(events[0]).toMatchObject({ type: "lost", reason: "hung" });
  });
});

describe("what cannot be started says why", () => {
  test("an artifact that is not what the manifest says", async () => {
    const artifact = textArtifact("one thing");
    fs.writeFileSync(artifact.path, "another");
    const { pool } = testPool("typescript", commandOnly, { artifact });
    await expect(pool.start()).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/has SHA-256 .* its manifest says .*compile/) as string,
    });
  });

  test("an artifact that is a link", async () => {
    const artifact = textArtifact("one thing");
    const link = path.join(temporaryFolder(), "link");
    fs.symlinkSync(artifact.path, link);
    const { pool } = testPool("typescript", commandOnly, { artifact: { ...artifact, path: link } });
    await expect(pool.start()).rejects.toThrow(/is a symbolic link/);
  });

  test("a program that does not exist", async () => {
    const { pool } = testPool(
      "rogue",
      {},
      {
        host: { command: ["/does/not/exist"], workingDirectory: "/", env: process.env },
      },
    );
    await expect(pool.start()).rejects.toThrow(/exist/);
  });

  test("a program that ends with a message", async () => {
    const { pool } = testPool(
      "rogue",
      {},
      {
        host: {
          command: [process.execPath, "-e", "console.error('no such library'); process.exit(9)"],
          workingDirectory: "/",
          env: process.env,
        },
      },
    );
    await expect(pool.start()).rejects.toThrow(/exited with 9.*no such library/);
  });

  test("no space for shared memory", async () => {
    const { pool } = testPool("rogue", {}, { sharedMemoryDirectory: "/proc" });
    await expect(pool.start()).rejects.toMatchObject({ code: "unavailable" });
  });
});

/** A file system of 1 MiB in memory, or undefined where this user may not mount one. */
function smallFileSystem(): string | undefined {
  const folder = temporaryFolder();
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
  if (status !== 0) return undefined;
  onTestFinished(() => void spawnSync("umount", ["-l", folder]));
  return folder;
}

test("memory that runs out fails the request that needs it, and no other", async ({ skip }) => {
  const sharedMemoryDirectory = smallFileSystem();
  skip(sharedMemoryDirectory === undefined, "mounting a small file system takes root");
  const tensors = [{ name: "x", datatype: "UINT8", shape: [-1] }];
  const { pool, events } = testPool(
    "typescript",
    { tensors },
    { sharedMemoryDirectory: sharedMemoryDirectory ?? "" },
  );
  await pool.start();
  await expect(pool.infer({ inputs: [tensor("x", "UINT8", [2_000_000])] })).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringMatching(/no space for .* bytes of shared memory.*--shm-size/) as string,
  });
  await expect(pool.infer({ inputs: [tensor("x", "UINT8", [100])] })).resolves.toBeDefined();
  expect(events).toEqual([]);
});

test("closing while it starts leaves no process", async () => {
  const { pool } = testPool("rogue", { fault: "loadSilence" });
  const started = pool.start();
  started.catch(() => {});
  const rogues = (): string[] =>
    fs.readFileSync(`/proc/self/task/${process.pid}/children`, "latin1").split(" ").filter(isRogue);
  await until(() => rogues().length > 0);
  await pool.close();
  await expect(started).rejects.toThrow();
  await until(() => rogues().length === 0);
});

function isRogue(pid: string): boolean {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("rogue-host");
  } catch {
    return false;
  }
}

test("nothing of the shared memory has a name", async () => {
  const sharedMemoryDirectory = temporaryFolder();
  const { pool } = testPool("rogue", { fault: "" }, { sharedMemoryDirectory });
  await pool.start();
  expect(fs.readdirSync(sharedMemoryDirectory)).toEqual([]);
});
