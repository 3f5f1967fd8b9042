import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { verifyLog } from "../../src/audit/log/verify.ts";
import { newFolder, numbers, openScene, writeModel, type Scene } from "./_gateway.ts";

let scene: Scene | undefined;
afterEach(async () => {
  await scene?.end();
  scene = undefined;
});

/** Sends until told to stop; every reply must belong to its own request. */
function load(
  at: Scene,
  model: string,
  clients: number,
): { stop(): Promise<{ accepted: number; answered: number; errors: unknown[] }> } {
  const state = { done: false, accepted: 0, answered: 0, errors: [] as unknown[] };
  const work = Array.from({ length: clients }, async (_, client) => {
    while (!state.done) {
      const n = state.accepted++;
      const x = [client, n, 2, 3];
      try {
        const { outputs } = await at.infer(model, { x });
        if (numbers(outputs[0]).join() !== x.join())
          throw new Error(`request ${x.join()} got ${numbers(outputs[0]).join()}`);
        state.answered++;
      } catch (error) {
        state.errors.push(error);
      }
    }
  });
  return {
    async stop() {
      state.done = true;
      await Promise.all(work);
      return state;
    },
  };
}

describe("switching", () => {
  test("1,000 switches under load: nothing failed, lost or answered twice, each in the log", async () => {
    const folder = await newFolder();
    await writeModel(
      folder,
      "m",
      { a: { sleepMicroseconds: 200 }, b: { sleepMicroseconds: 300 } },
      { shadow: { sampleRate: 0 } },
    );
    scene = await openScene(folder);
    const traffic = load(scene, "m", 4);
    for (let i = 0; i < 1000; i++) {
      const { to } =
        (await scene.services.switching?.switch("m", i % 2 ? "a" : "b", `round ${i}`, "test")) ?? {};
      expect(to).toBe(i % 2 ? "a" : "b");
    }
    const { accepted, answered, errors } = await traffic.stop();
    expect(errors).toEqual([]);
    expect(answered).toBe(accepted);
    expect(answered).toBeGreaterThan(1000);
    await scene.stop();
    expect(await verifyLog(join(folder, "var/log"))).toMatchObject({ entries: 1000, faults: [] });
  });

  test("a switch loads its engine first; one that cannot be loaded changes nothing", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {}, c: {} }, { shadow: { sampleRate: 0 } });
    scene = await openScene(folder);
    await rm(join(folder, "models/m/engines/c/artifact.bin"));
    const switching = scene.services.switching;
    await expect(switching?.switch("m", "c", "r", "t")).rejects.toMatchObject({ code: "conflict" });
    await expect(switching?.switch("m", "zzz", "r", "t")).rejects.toMatchObject({ code: "notFound" });
    expect(await scene.active("m")).toBe("a");
    expect(await scene.decisions()).toEqual([]);
    // Every rule's value, also where a person decided.
    const verdicts = expect.arrayContaining([expect.objectContaining({ rule: "errorRatio", have: 0 })]);
    expect(await switching?.switch("m", "b", "r", "t")).toMatchObject({
      from: "a",
      to: "b",
      decision: { seq: 1, reason: "r", verdicts },
    });
    expect(await switching?.rollback("m", "back", "t")).toMatchObject({
      from: "b",
      to: "a",
      decision: { type: "rollback", verdicts },
    });
  });

  test("a switch and a load of the repository take turns: what the log says is what serves, whichever came first", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    scene = await openScene(folder);
    const switched = scene.services.switching?.switch("m", "b", "r", "t");
    await new Promise((resolve) => setTimeout(resolve, 20));
    await scene.services.models.load("m");
    expect(await switched).toMatchObject({ from: "a", to: "b" });
    expect((await scene.infer("m")).engine).toBe("b");
    // The load has to start engines anew, and the switch comes while it does.
    await writeModel(folder, "m", {}, { shadow: { sampleRate: 0 }, watchdogMs: 900 });
    const loaded = scene.services.models.load("m");
    await new Promise((resolve) => setTimeout(resolve, 20));
    await scene.services.switching?.switch("m", "a", "r", "t");
    await loaded;
    expect((await scene.infer("m")).engine).toBe("a");
    expect(await scene.active("m")).toBe("a");
  });

  test("roll-back without an earlier engine says so", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    scene = await openScene(folder);
    await expect(scene.services.switching?.rollback("m", "r", "t")).rejects.toThrow(
      /no engine to roll back to/,
    );
  });

  test("the last switch is in force after a restart; another repository with the same store knows nothing of it", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    const first = await openScene(folder);
    await first.services.switching?.switch("m", "b", "r", "t");
    await first.stop();
    scene = await openScene(folder);
    expect(await scene.active("m")).toBe("b");
    await scene.stop();
    const other = await newFolder();
    await writeModel(other, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    const second = await openScene(other, { store: { path: join(folder, "var") } });
    expect(await second.active("m")).toBe("a");
    await second.end();
  });

  test("a switch is in force after a kill also when the log was begun anew", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    const first = await openScene(folder);
    for (const id of ["b", "a", "b"]) await first.services.switching?.switch("m", id, "r", "t");
    await first.stop();
    const states = join(folder, "var/state");
    const file = (await readdir(states, { recursive: true })).find((name) => name.endsWith("/m.json")) ?? "";
    const before = await readFile(join(states, file));
    await rm(join(folder, "var/log"), { recursive: true });
    const second = await openScene(folder);
    expect(await second.active("m")).toBe("b");
    await second.services.switching?.switch("m", "a", "r", "t");
    await second.stop();
    const third = await openScene(folder);
    expect(await third.active("m")).toBe("a");
    await third.stop();
    // As if the gateway had been killed before it wrote the state.
    await writeFile(join(states, file), before);
    scene = await openScene(folder);
    expect(await scene.active("m")).toBe("a");
  });

  test("two gateways on one store: the second is refused clearly", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {} }, { shadow: { sampleRate: 0 } });
    scene = await openScene(folder);
    await expect(openScene(folder)).rejects.toThrow(/another gateway/);
    expect((await scene.infer("m")).engine).toBe("a");
  });

  test("a line that a crash tore off is cut off and noted, and the gateway serves", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    const before = await openScene(folder);
    await before.services.switching?.switch("m", "b", "r", "t");
    await before.stop();
    await appendFile(join(folder, "var/log/decisions-000001.jsonl"), '{"seq":2,"time');
    const opened = await openScene(folder);
    expect((await opened.decisions()).map(({ type }) => type)).toEqual(["switch", "repair"]);
    expect((await opened.infer("m")).engine).toBe("b");
    await opened.end();
  });

  test("killed again and again in the midst of switching: same engine as the log says, a valid log, no half-made switch", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: {}, b: {} }, { shadow: { sampleRate: 0 } });
    for (let round = 0; round < 6; round++) {
      const gateway = startProgram("_switcher.ts", folder);
      await said(gateway, "switching");
      await new Promise((resolve) => setTimeout(resolve, 37 * round));
      gateway.kill("SIGKILL");
      await once(gateway, "exit");
      const { faults } = await verifyLog(join(folder, "var/log"));
      // A torn last line is the one thing a crash may leave; the next start cuts it off.
      expect(faults.every(({ problem }) => problem.includes("is not a log line"))).toBe(true);
      const opened = await openScene(folder);
      const last = (await opened.decisions()).filter(({ type }) => type === "switch").at(-1);
      expect(await opened.active("m")).toBe(last?.to ?? "a");
      expect((await opened.infer("m")).engine).toBe(last?.to ?? "a");
      await opened.stop();
    }
    expect((await verifyLog(join(folder, "var/log"))).faults).toEqual([]);
    await rm(folder, { recursive: true });
  });

  test("killed while a canary, a promotion or a quarantine is being made: the log's engines, and nothing half made", async () => {
    const folder = await newFolder();
    const policy = {
      mode: "automatic",
      interval: 0.1,
      initialDelaySeconds: 0,
      minSamples: 20,
      blockMs: 5,
      watchSeconds: 0.1,
      cooldownSeconds: 0,
      maxSwitchesPerHour: 1000,
      canary: { steps: [50] },
      rules: [{ rule: "divergence", threshold: 0.2 }],
    };
    await writeModel(
      folder,
      "m",
      { good: {}, other: {}, bad: { fault: "swapped" } },
      { reference: "good", active: "good", shadow: { maxUtilization: 1 }, policy },
    );
    for (const word of ["canary:policy", "quarantine:policy", "switch:policy"]) {
      const gateway = startProgram("_decider.ts", folder);
      await said(gateway, word);
      gateway.kill("SIGKILL");
      await once(gateway, "exit");
      const { faults } = await verifyLog(join(folder, "var/log"));
      expect(faults.every(({ problem }) => problem.includes("is not a log line"))).toBe(true);
      const opened = await openScene(folder);
      const entries = await opened.decisions();
      const last = entries.filter(
        ({ type, to }) => (type === "switch" || type === "rollback") && to !== null,
      );
      expect(await opened.active("m")).toBe(last.at(-1)?.to);
      expect((await opened.infer("m")).engine).toBe(last.at(-1)?.to);
      const ofBad = entries.filter(({ type, from }) => type.endsWith("quarantine") && from === "bad");
      const { state } = await opened.engine("m", "bad");
      expect(state === "quarantined").toBe(ofBad.at(-1)?.type === "quarantine");
      const audit = await opened.services.audit?.verdicts("m");
      expect(audit?.candidates.filter((each) => each.state === "canary")).toEqual([]);
      await opened.stop();
    }
    expect((await verifyLog(join(folder, "var/log"))).faults).toEqual([]);
    await rm(folder, { recursive: true });
  });

  test("an engine killed or stopped under load costs no request", async () => {
    const folder = await newFolder();
    await writeModel(
      folder,
      "m",
      { a: { sleepMicroseconds: 300 }, b: { sleepMicroseconds: 300 } },
      { shadow: { sampleRate: 0 }, watchdogMs: 500 },
    );
    scene = await openScene(folder);
    // A second engine is resident after a switch and back.
    await scene.services.switching?.switch("m", "b", "warm", "t");
    await scene.services.switching?.switch("m", "a", "back", "t");
    const traffic = load(scene, "m", 3);
    for (const signal of ["SIGKILL", "SIGSTOP", "SIGKILL"] as const) {
      await new Promise((resolve) => setTimeout(resolve, 700));
      for (const pid of hostsOf(process.pid)) process.kill(pid, signal);
    }
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const { accepted, answered, errors } = await traffic.stop();
    expect(errors).toEqual([]);
    expect(answered).toBe(accepted);
    const moved = (await scene.decisions()).find(({ type }) => type === "failover");
    expect(moved).toMatchObject({
      from: "a",
      trigger: "health",
      reason: expect.stringMatching(/1 request moved: /),
    });
  });
});

function startProgram(name: string, folder: string): ChildProcess {
  const program = fileURLToPath(new URL(name, import.meta.url));
  return spawn(process.execPath, ["--import", "tsx", program, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function said(child: ChildProcess, word: string): Promise<void> {
  for await (const chunk of child.stdout ?? []) if (String(chunk).includes(word)) return;
  throw new Error(`the gateway ended before it said "${word}"`);
}

/** One live engine host of this process: the oldest child that runs the scripted host. */
function hostsOf(parent: number): number[] {
  const { readdirSync, readFileSync } = process.getBuiltinModule("node:fs");
  const found: number[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const [, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(ppid) === parent && readFileSync(`/proc/${entry}/cmdline`, "latin1").includes("host.mjs"))
        found.push(Number(entry));
    } catch {
      // It has gone meanwhile.
    }
  }
  return found.toSorted((a, b) => a - b).slice(0, 1);
}
