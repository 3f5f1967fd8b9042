import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { readNpz } from "../../src/models/npz.ts";
import { control, infer, metric, openWorkplace, python, root, serve } from "./_serve.ts";
import type { Server, Workplace } from "./_serve.ts";

/** The demo model with every engine that this machine builds in reasonable time, and a real gateway over them. */
const demo = join(root, "models/traffic-signs");
const onnx = join(demo, "model.onnx");
const model = "traffic-signs";

interface Wanted {
  readonly id: string;
  readonly args: readonly string[];
  /** What must have been set up; downloading a compiler is no business of this test. */
  readonly needs: string;
}

const tvm = (compiler: string, environment: string): Wanted => ({
  id: `${compiler}-1`,
  args: ["--compiler", compiler, "--replay", join(demo, `tuning/${compiler}.jsonl`)],
  needs: join(root, "engines/tvm/.venv", environment),
});
const wanted: readonly Wanted[] = [
  { id: "onnxruntime-1", args: ["--compiler", "onnxruntime"], needs: onnx },
  {
    id: "onnxruntime-2",
    args: ["--compiler", "onnxruntime", "--option", "graphOptimizationLevel=basic"],
    needs: onnx,
  },
  {
    id: "onnxruntime-int8-1",
    args: ["--compiler", "onnxruntime", "--precision", "int8"],
    needs: join(root, "engines/onnxruntime/.venv"),
  },
  tvm("autotvm", "relay"),
  tvm("autoscheduler", "relay"),
  tvm("metaschedule", "metaschedule"),
];
const buildable = wanted.filter(({ needs }) => existsSync(needs));
const absent = wanted.filter((each) => !buildable.includes(each)).map(({ id }) => id);
const why = existsSync(python) ? undefined : "test/.venv is missing; npm test makes it";
const without = absent.length > 0 ? `, without ${absent.join(", ")} (not set up here)` : "";

interface EngineRow {
  readonly id: string;
  readonly state: string;
  readonly role: string;
  readonly reason: string | null;
}

describe.skipIf(why !== undefined)(`real engines${without}${why ? ` (skipped: ${why})` : ""}`, () => {
  let place: Workplace;
  let server: Server;
  let traffic: Traffic;
  const good: string[] = [];

  beforeAll(async () => {
    place = await openWorkplace();
    const folder = join(place.repository, model);
    const settings = parse(await readFile(join(demo, "model.yaml"), "utf8")) as object;
    await place.writeModel(model, {
      ...settings,
      shadow: { maxUtilization: 1 },
      policy: {
        mode: "automatic",
        interval: 0.5,
        // Nothing is promoted here: what a bad engine meets is the matter.
        initialDelaySeconds: 3600,
        minSamples: 60,
        blockMs: 10,
        cooldownSeconds: 0,
        maxSwitchesPerHour: 1000,
        rules: [{ rule: "flipRatio", threshold: 0.05 }],
      },
    });
    await cp(join(demo, "samples"), join(folder, "samples"), { recursive: true });
    for (const { id, args } of buildable) {
      const built = join(demo, "engines", id);
      if (existsSync(join(built, "engine.yaml"))) {
        // npm start has built it; its manifest and digest are checked like any other's.
        await cp(built, join(folder, "engines", id), { recursive: true });
        good.push(id);
        continue;
      }
      const problem = await place.compile(onnx, model, ...args).then(
        () => undefined,
        (error: Error) => error,
      );
      if (!problem) good.push(id);
      // A probe that finds a family missing, or too slow to answer on a busy machine, costs its engines only.
      else if (id === "onnxruntime-1" || !problem.message.includes("cannot be built here")) throw problem;
      else process.stderr.write(`real engines: without ${id}: ${problem.message}\n`);
    }
    await addWrongEngine(place);
    server = await serve(place);
    traffic = await createTraffic(server.url);
  }, 400_000);

  afterAll(async () => {
    traffic?.stop();
    const code = await server?.stop();
    await place?.remove();
    expect(code).toBe(0);
  });

  const engineOf = async (id: string): Promise<EngineRow> => {
    const { engines } = await control<{ engines: EngineRow[] }>(server.url, `/v1/models/${model}/engines`);
    const found = engines.find((engine) => engine.id === id);
    if (!found) throw new Error(`no engine ${id}`);
    return found;
  };
  const patience = { timeout: 90_000, interval: 500 };

  it("every engine answers the labelled samples, and most of them rightly", async () => {
    for (const engine of good) {
      let right = 0;
      for (let sample = 0; sample < 100; sample++) {
        const { status, outputs, error } = await infer(server.url, model, [traffic.input(sample)], {
          engine,
        });
        expect([status, error]).toEqual([200, undefined]);
        if (argMax(outputs[0]?.values) === traffic.label(sample)) right++;
      }
      expect(right, engine).toBeGreaterThan(90);
    }
  }, 60_000);

  it("a wrong candidate is found by its flips and quarantined; the good ones are not", async () => {
    traffic.start();
    await expect.poll(async () => (await engineOf("wrong-1")).state, patience).toBe("quarantined");
    expect((await engineOf("wrong-1")).reason).toContain("flipRatio");
    expect((await engineOf("onnxruntime-1")).role).toBe("active");
    for (const id of good) expect([id, (await engineOf(id)).state]).toEqual([id, "ready"]);
  }, 120_000);

  it("every pair is compared: fp32 engines within the tolerance and without flips, int8 reported", async () => {
    const compared = async (candidate: string, result?: string): Promise<number> =>
      (await metric(server.url, "comparisons_total"))
        .filter(({ labels }) => labels["candidate"] === candidate && labels["reference"] === "onnxruntime-1")
        .filter(({ labels }) => result === undefined || labels["result"] === result)
        .reduce((sum, { value }) => sum + value, 0);
    const flips = async (candidate: string): Promise<number> =>
      (await metric(server.url, "flips_total")).find(({ labels }) => labels["candidate"] === candidate)
        ?.value ?? Number.NaN;
    for (const id of good.slice(1)) {
      await expect.poll(() => compared(id), patience).toBeGreaterThan(50);
      if (id.includes("int8")) {
        // Eight bits move every score; how often that changes the decision is counted, whatever it is.
        expect(await flips(id)).toBeGreaterThanOrEqual(0);
        continue;
      }
      expect([id, await flips(id)]).toEqual([id, 0]);
      expect([id, await compared(id, "diverged"), await compared(id, "invalid")]).toEqual([id, 0, 0]);
    }
  }, 120_000);

  it("labels that come later give every engine its accuracy", async () => {
    interface Report {
      readonly engines: readonly {
        id: string;
        labelled: { set: string; samples: number; correct: number }[];
      }[];
    }
    for (const { id, label } of traffic.answered(200))
      await control(server.url, `/v1/models/${model}/feedback`, { id, label });
    const report = await control<Report>(server.url, `/v1/models/${model}/report?format=json`);
    for (const id of good) {
      const [told] = report.engines.find((engine) => engine.id === id)?.labelled ?? [];
      expect([id, told?.set]).toEqual([id, "feedback"]);
      expect((told?.correct ?? 0) / (told?.samples ?? 0)).toBeGreaterThan(0.9);
    }
  }, 60_000);

  it("a switch by hand and back under load costs no request", async () => {
    const other = good.includes("autotvm-1") ? "autotvm-1" : "onnxruntime-2";
    for (const to of [other, "onnxruntime-1", other, "onnxruntime-1"]) {
      const switched = await control<{ to: string; decision: { seq: number } }>(
        server.url,
        `/v1/models/${model}/switch`,
        { engine: to, reason: "e2e" },
      );
      expect(switched.to).toBe(to);
      const before = traffic.engines.get(to) ?? 0;
      await expect.poll(() => traffic.engines.get(to) ?? 0, patience).toBeGreaterThan(before + 20);
    }
    expect(traffic.errors).toEqual([]);
  }, 120_000);

  it("a wrong engine made active is rolled back to the good one", async () => {
    await control(server.url, `/v1/models/${model}/switch`, { engine: "wrong-1", reason: "a mistake" });
    expect((await engineOf("wrong-1")).role).toBe("active");
    await expect.poll(async () => (await engineOf("wrong-1")).state, patience).toBe("quarantined");
    expect((await engineOf("onnxruntime-1")).role).toBe("active");
    const { entries } = await control<{ entries: { type: string; from: string; to: string | null }[] }>(
      server.url,
      "/v1/log?after=0",
    );
    const told = entries.filter(({ type }) => type !== "hold").slice(-4);
    expect(told.map(({ type, from, to }) => [type, from, to])).toEqual([
      ["unquarantine", "wrong-1", null],
      ["switch", "onnxruntime-1", "wrong-1"],
      ["rollback", "wrong-1", "onnxruntime-1"],
      ["quarantine", "wrong-1", null],
    ]);
    expect(traffic.errors).toEqual([]);
  }, 120_000);
});

/** Compiled from a network whose classes are shifted by one, and put among the model's engines as if it were one. */
async function addWrongEngine(place: Workplace): Promise<void> {
  const wrong = join(place.folder, "wrong.onnx");
  await promisify(execFile)(python, [join(root, "test/e2e/shift_classes.py"), onnx, wrong]);
  await place.compile(wrong, "wrong", "--compiler", "onnxruntime");
  const from = join(place.repository, "wrong/engines/onnxruntime-1");
  const manifest = (await readFile(join(from, "engine.yaml"), "utf8"))
    .replace("id: onnxruntime-1", "id: wrong-1")
    .replace("model: wrong", `model: ${model}`);
  await writeFile(join(from, "engine.yaml"), manifest);
  await rename(from, join(place.repository, model, "engines/wrong-1"));
  await mkdir(join(place.folder, "aside"));
  await rename(join(place.repository, "wrong"), join(place.folder, "aside/wrong"));
}

interface Traffic {
  input(sample: number): { name: string; shape: number[]; values: Float32Array };
  label(sample: number): number;
  start(): void;
  stop(): void;
  readonly errors: unknown[];
  /** Requests answered by each engine. */
  readonly engines: ReadonlyMap<string, number>;
  /** The latest requests that are at least two seconds old, with their true labels. */
  answered(count: number): { id: string; label: number }[];
}

/** The clean samples, sent one after another with pauses in which the shadow gets its turn. */
async function createTraffic(url: string): Promise<Traffic> {
  const npz = await readNpz(join(demo, "samples/clean.npz"));
  const image = npz.get("image");
  const labels = npz.get("labels");
  const [samples = 0, ...shape] = image.shape;
  const size = shape.reduce((product, dim) => product * dim, 1);
  const labelBytes = labels.data.byteLength / samples;
  const view = new DataView(labels.data.buffer, labels.data.byteOffset);
  const state = { running: false, next: 0 };
  const errors: unknown[] = [];
  const engines = new Map<string, number>();
  const done: { id: string; label: number; at: number }[] = [];

  const label = (sample: number): number => {
    const at = (sample % samples) * labelBytes;
    return labelBytes === 8 ? Number(view.getBigInt64(at, true)) : view.getUint8(at);
  };
  const input = (sample: number) => {
    const from = (sample % samples) * size;
    const values = Float32Array.from(image.data.subarray(from, from + size), (byte) => byte / 255);
    return { name: "image", shape: [1, ...shape], values };
  };
  async function run(): Promise<void> {
    while (state.running) {
      const sample = state.next++;
      const id = `sample-${sample}`;
      try {
        const { status, error, engine } = await infer(url, model, [input(sample)], { id });
        if (status !== 200 || engine === null) throw new Error(`${status} ${error}`);
        engines.set(engine, (engines.get(engine) ?? 0) + 1);
        done.push({ id, label: label(sample), at: performance.now() });
      } catch (error) {
        errors.push(error);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  return {
    input,
    label,
    start() {
      state.running = true;
      void run();
    },
    stop: () => void (state.running = false),
    errors,
    engines,
    answered: (count) => done.filter(({ at }) => performance.now() - at > 2000).slice(-count),
  };
}

function argMax(values: Float32Array | undefined): number {
  return values ? values.indexOf(Math.max(...values)) : -1;
}
