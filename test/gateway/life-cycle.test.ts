import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import {
  newFolder,
  numbers,
  openGateway,
  openScene,
  writeEngine,
  writeModel,
  type Scene,
} from "./_gateway.ts";

let scene: Scene | undefined;
afterEach(async () => {
  await scene?.end();
  scene = undefined;
});

async function open(write: (folder: string) => Promise<void>, settings: object = {}): Promise<Scene> {
  const folder = await newFolder();
  await write(folder);
  scene = await openScene(folder, settings);
  return scene;
}

const two = { a: {}, b: {} };

describe("life of a model", () => {
  test("serves the first engine, names it, and answers with all outputs", async () => {
    const { infer } = await open((folder) => writeModel(folder, "m", two));
    const { engine, outputs } = await infer("m", { x: [1, 2, 3, 4] });
    expect(engine).toBe("a");
    expect(outputs.map(({ name }) => name)).toEqual(["scores", "boxes"]);
    expect(numbers(outputs[0])).toEqual([1, 2, 3, 4]);
  });

  test("a pinned engine is loaded first, whoever is active", async () => {
    const { infer, engine } = await open((folder) =>
      writeModel(folder, "m", two, { shadow: { sampleRate: 0 } }),
    );
    expect((await engine("m", "b")).state).toBe("unloaded");
    expect((await infer("m", { engine: "b" })).engine).toBe("b");
    expect((await engine("m", "b")).state).toBe("ready");
    await expect(infer("m", { engine: "c" })).rejects.toThrow(/no engine "c"; it has a, b/);
  });

  test("an artifact that does not match its digest is refused with both digests, and another engine serves", async () => {
    const { infer, engine, decisions } = await open(async (folder) => {
      await writeModel(folder, "m", two);
      await writeFile(join(folder, "models/m/engines/a/artifact.bin"), "changed");
    });
    expect((await infer("m")).engine).toBe("b");
    expect((await engine("m", "a")).reason).toMatch(/sha|digest/i);
    await expect.poll(decisions).toMatchObject([{ type: "fallback", from: "a", to: "b" }]);
  });

  test("a broken engine.yaml costs that engine only", async () => {
    const { infer, engine } = await open(async (folder) => {
      await writeModel(folder, "m", two);
      await writeFile(join(folder, "models/m/engines/b/engine.yaml"), "schema: 1\nids: b\n");
    });
    expect((await infer("m")).engine).toBe("a");
    expect(await engine("m", "b")).toMatchObject({
      state: "failed",
      reason: expect.stringMatching(/"ids".*did you mean "id"/s),
    });
  });

  test("a broken model.yaml costs that model only", async () => {
    const { infer, services } = await open(async (folder) => {
      await writeModel(folder, "good", two);
      await writeModel(folder, "bad", two, { timeoutMS: 5 });
    });
    expect((await infer("good")).engine).toBe("a");
    await expect(infer("bad")).rejects.toThrow(/timeoutMS.*did you mean "timeoutMs"/s);
    expect(await services.models.index()).toMatchObject([
      { name: "bad", state: "UNAVAILABLE" },
      { name: "good", state: "READY" },
    ]);
    expect(services.models.ready()).toMatchObject({ ready: true });
  });

  test("unload by the API: in-flight requests are answered, then 404 until it is loaded", async () => {
    const { infer, services } = await open((folder) =>
      writeModel(folder, "m", { a: { sleepMicroseconds: 100_000 } }),
    );
    const inFlight = [infer("m"), infer("m"), infer("m")];
    await new Promise((resolve) => setTimeout(resolve, 20));
    await services.models.unload("m");
    expect((await Promise.all(inFlight)).map(({ engine }) => engine)).toEqual(["a", "a", "a"]);
    await expect(infer("m")).rejects.toMatchObject({
      code: "notFound",
      message: expect.stringContaining("/load"),
    });
    expect(services.models.modelReady("m").ready).toBe(false);
    await services.models.load("m");
    expect((await infer("m")).engine).toBe("a");
  });

  test("a changed folder takes effect by load, without a gap for those who infer meanwhile", async () => {
    const opened = await open((folder) => writeModel(folder, "m", { a: {} }));
    const { infer, services, folder } = opened;
    const state = { done: false, answers: 0 };
    const client = (async () => {
      while (!state.done) {
        await infer("m");
        state.answers++;
      }
    })();
    await writeEngine(folder, "m", "b", {});
    const yaml = join(folder, "models/m/model.yaml");
    await writeFile(yaml, (await readFile(yaml, "utf8")).replace("{", '{"labels": ["x"],'));
    await services.models.load("m");
    expect(await services.models.describe("m")).toMatchObject({ labels: ["x"] });
    expect((await infer("m", { engine: "b" })).engine).toBe("b");
    await rm(join(folder, "models/m/engines/b"), { recursive: true });
    await services.models.load("m");
    await expect(infer("m", { engine: "b" })).rejects.toThrow(/no engine "b"/);
    state.done = true;
    await client;
    expect(state.answers).toBeGreaterThan(0);
  });

  test("the gateway ends without waiting for hosts that do not come up in the shadow", async () => {
    const { infer, stop } = await open(async (folder) => {
      await writeModel(folder, "m", { a: { fault: "loadsOnce" }, b: { fault: "loadsOnce" } });
      await writeFile(join(folder, "models/m/engines/b/loaded"), "");
    });
    await infer("m");
    await nextTurn();
    await stop();
  });

  test("the gateway ends without waiting for a switch to an engine that does not come up, and logs none", async () => {
    const { services, engine, decisions, stop } = await open(async (folder) => {
      await writeModel(folder, "m", { a: {}, b: { fault: "loadsOnce" } }, { shadow: { sampleRate: 0 } });
      await writeFile(join(folder, "models/m/engines/b/loaded"), "");
    });
    const switching = services.switching?.switch("m", "b", "test", "test");
    const refused = expect(switching).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("shutting down"),
    });
    await expect.poll(async () => (await engine("m", "b")).state).toBe("loading");
    await stop();
    await refused;
    expect(await decisions()).toEqual([]);
  }, 20_000);

  test("the gateway ends without waiting for a reload whose engine does not come up", async () => {
    const { services, folder, stop } = await open((at) =>
      writeModel(at, "m", { a: {} }, { shadow: { sampleRate: 0 } }),
    );
    await writeEngine(folder, "m", "a", { fault: "loadsOnce" });
    const mark = join(folder, "models/m/engines/a/loaded");
    await writeFile(mark, "");
    const refused = expect(services.models.load("m")).rejects.toMatchObject({ code: "unavailable" });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await stop();
    await refused;
  }, 20_000);

  test("the gateway ends without waiting for models that are still loading", async () => {
    const folder = await newFolder();
    await writeModel(folder, "m", { a: { fault: "loadsOnce" }, b: { fault: "loadsOnce" } });
    for (const id of ["a", "b"]) await writeFile(join(folder, "models/m/engines", id, "loaded"), "");
    const gateway = await openGateway(folder);
    const starting = gateway.start();
    await expect.poll(() => gateway.services.models.modelReady("m")).toMatchObject({ ready: false });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await gateway.close();
    await starting;
    await rm(folder, { recursive: true });
  }, 20_000);

  test("an engine that a reload removed leaves no metrics behind; one that it rebuilt shows its own", async () => {
    const { infer, services, folder } = await open((at) =>
      writeModel(at, "m", { a: {}, b: {}, c: {} }, { shadow: { sampleRate: 0 } }),
    );
    for (const engine of ["b", "c"]) await infer("m", { engine });
    const lines = async (engine: string) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of services.metrics?.scrape(undefined).chunks ?? []) chunks.push(chunk);
      return Buffer.concat(chunks)
        .toString()
        .split("\n")
        .filter((line) => line.includes(`engine="${engine}"`) && !line.includes("requests_total"));
    };
    expect((await lines("b")).length).toBeGreaterThan(0);
    await rm(join(folder, "models/m/engines/b"), { recursive: true });
    await writeEngine(folder, "m", "c", { sleepMicroseconds: 100 });
    await services.models.load("m");
    await infer("m");
    expect(await lines("b")).toEqual([]);
    expect((await lines("c")).filter((line) => line.startsWith("crosscheck_engine_info"))).toHaveLength(1);
    expect(await lines("c")).toContain('crosscheck_engine_state{model="m",engine="c",state="unloaded"} 1');
  });

  test("a removed model goes, the others stay", async () => {
    const { infer, services, folder } = await open(async (at) => {
      await writeModel(at, "m", two);
      await writeModel(at, "n", two);
    });
    await rm(join(folder, "models/m"), { recursive: true });
    await expect(services.models.load("m")).rejects.toMatchObject({ code: "notFound" });
    await expect(infer("m")).rejects.toMatchObject({ code: "notFound" });
    expect((await infer("n")).engine).toBe("a");
  });

  test("idle: unloaded, still ready, back with the next request", async () => {
    const { infer, services, engine } = await open((folder) =>
      writeModel(folder, "m", { a: {} }, { idleUnloadSeconds: 0.5, shadow: { sampleRate: 0 } }),
    );
    await infer("m");
    await expect.poll(async () => (await engine("m", "a")).state, { timeout: 10_000 }).toBe("unloaded");
    expect(services.models.modelReady("m").ready).toBe(true);
    const answers = await Promise.all([infer("m"), infer("m"), infer("m")]);
    expect(answers.length).toBe(3);
  });

  test("on demand: nothing runs before the first request", async () => {
    const { infer, services, engine } = await open((folder) =>
      writeModel(folder, "m", { a: {} }, { load: "onDemand", shadow: { sampleRate: 0 } }),
    );
    expect((await engine("m", "a")).state).toBe("unloaded");
    expect(services.models.ready()).toMatchObject({ ready: true });
    expect((await infer("m")).engine).toBe("a");
  });

  test("more models than memory holds take turns", async () => {
    const names = ["m0", "m1", "m2", "m3"];
    const { infer, services } = await open(
      async (folder) => {
        for (const name of names)
          await writeModel(folder, name, { a: {} }, { load: "onDemand", shadow: { sampleRate: 0 } });
      },
      { memoryBudgetBytes: 130 * 1024 * 1024 },
    );
    for (let round = 0; round < 2; round++)
      for (const name of names) {
        expect((await infer(name)).engine).toBe("a");
        // An engine used within the last second counts as under load and is not put out.
        await new Promise((resolve) => setTimeout(resolve, 1100));
      }
    const states = await Promise.all(
      names.map(async (name) => (await services.engines?.list(name))?.engines[0]?.state),
    );
    expect(states.filter((state) => state === "ready").length).toBeLessThan(names.length);
    expect(states.at(-1)).toBe("ready");
  });

  test("a budget that nothing can meet is an error with the figures", async () => {
    const { infer } = await open((folder) => writeModel(folder, "m", { a: {} }, { load: "onDemand" }), {
      memoryBudgetBytes: 1024,
    });
    await expect(infer("m")).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("memoryBudgetBytes 1024"),
    });
  });

  test("queue: what does not fit is refused at once, what waits is answered", async () => {
    const { infer } = await open(
      (folder) =>
        writeModel(folder, "m", { a: { sleepMicroseconds: 50_000 } }, { shadow: { sampleRate: 0 } }),
      {
        limits: { concurrency: 1, queue: 2 },
      },
    );
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => infer("m")));
    expect(results.filter(({ status }) => status === "fulfilled").length).toBe(3);
    for (const result of results)
      if (result.status === "rejected")
        expect(result.reason).toMatchObject({ code: "busy", retryAfterSeconds: 1 });
  });

  test("hard limit: the model's and the request's own, whichever is shorter", async () => {
    const { infer } = await open((folder) =>
      writeModel(
        folder,
        "m",
        { a: { sleepMicroseconds: 300_000 } },
        { timeoutMs: 100, shadow: { sampleRate: 0 } },
      ),
    );
    await expect(infer("m")).rejects.toMatchObject({
      code: "timeout",
      message: expect.stringContaining("100 ms"),
    });
    await expect(infer("m", { timeoutMs: 10 })).rejects.toMatchObject({
      message: expect.stringContaining("10 ms"),
    });
  });
});
