import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildEngines, type BuildEvent } from "../../src/building/build-engines.ts";
import { createChecker, type EngineCheck } from "../../src/building/check-engine.ts";
import { type Families, readFamilies } from "../../src/building/families.ts";
import { openEngine } from "../../src/building/open-engine.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { parseYamlFile } from "../../src/core/yaml-file.ts";
import { engineSchema } from "../../src/models/manifest.ts";

const demo = join(packageRoot(), "models/traffic-signs");
const family = join(packageRoot(), "engines/tvm");
const isSetUp = (part: string): boolean => existsSync(join(family, ".runtime", part, "stamp"));
const missing = isSetUp("relay") ? undefined : "TVM 0.14 is not set up: npx crosscheck setup autotvm";
const missingToday = isSetUp("metaschedule") ? undefined : "not set up: npx crosscheck setup metaschedule";

let families: Families;
let root: string;

beforeAll(async () => {
  families = await readFamilies({ root: packageRoot(), environment: process.env });
  root = await mkdtemp(join(tmpdir(), "crosscheck-tvm-"));
  if (missing === undefined) {
    const python = join(family, ".venv/relay/bin/python");
    execFileSync(python, [join(import.meta.dirname, "tvm_models.py"), root]);
  }
});
afterAll(() => rm(root, { recursive: true, force: true }));

interface Given {
  onnx?: string;
  repository?: string;
  compiler?: string;
  builds?: number;
  options?: string[];
  replay?: string;
  signal?: AbortSignal;
  onProgress?: (event: Extract<BuildEvent, { type: "progress" }>["progress"]) => void;
}

/** Builds and checks through the real programs. */
async function build(given: Given = {}) {
  const { onnx = "conv", repository = await mkdtemp(join(root, "models-")), compiler = "tvm" } = given;
  const checks: EngineCheck[] = [];
  const checker = createChecker({ families, clock: systemClock, log: silentLog });
  try {
    const ids = await buildEngines(
      {
        onnx: onnx.includes("/") ? onnx : join(root, `${onnx}.onnx`),
        model: "signs",
        repository,
        compiler: families.compiler(compiler),
        builds: given.builds ?? 1,
        precision: "fp32",
        options: given.options ?? [],
        ...(given.replay === undefined ? {} : { replay: given.replay }),
      },
      {
        clock: systemClock,
        signal: given.signal,
        onEvent: (event) => {
          if (event.type === "progress") given.onProgress?.(event.progress);
        },
        verify: async (engine, model) => void checks.push(await checker.check(engine, model)),
      },
    );
    const engines = await Promise.all(
      ids.map(async (id) => {
        const directory = join(repository, "signs/engines", id);
        return { directory, manifest: await parseYamlFile(join(directory, "engine.yaml"), engineSchema) };
      }),
    );
    return { engines, checks };
  } finally {
    await checker.close();
  }
}

/** Tasks of a manifest's tuning log that a record was found for. */
function tasksOf(log: Built["manifest"]["tuningLog"] | undefined): readonly unknown[] {
  const tasks = log?.["tasksHit"];
  return Array.isArray(tasks) ? tasks : [];
}

type Built = Awaited<ReturnType<typeof build>>["engines"][number];

/** The bytes of all outputs for inputs made from a number, by a real host. */
async function outputsOf(engine: Built, seed: number): Promise<Uint8Array[]> {
  const pool = openEngine(engine, families.compiler(engine.manifest.compiler.name).host, {
    clock: systemClock,
    log: silentLog,
  });
  try {
    const info = await pool.start();
    const inputs = info.inputs.map((spec) => {
      const values = Float32Array.from({ length: spec.shape.reduce((a, b) => a * b, 1) }, (_, index) =>
        Math.fround(Math.sin(seed + index)),
      );
      return { ...spec, data: new Uint8Array(values.buffer) };
    });
    const { outputs } = await pool.infer({ inputs });
    return outputs.map(({ data }) => Uint8Array.from(data));
  } finally {
    await pool.close();
  }
}

describe.skipIf(missing !== undefined)(`TVM's compilers (${missing ?? "with Relay"})`, () => {
  it.each(["autotvm", "autoscheduler"])(
    "replays the demo model's %s log twice into the same engine",
    async (compiler) => {
      const { engines, checks } = await build({
        onnx: join(demo, "model.onnx"),
        compiler,
        builds: 2,
        replay: join(demo, `tuning/${compiler}.jsonl`),
      });
      const [first, second] = engines.map(({ manifest }) => manifest);
      expect(second?.fingerprint).toBe(first?.fingerprint);
      expect(second?.artifact.sha256).toBe(first?.artifact.sha256);
      expect(tasksOf(first?.tuningLog).length).toBeGreaterThan(4);
      expect(first?.tuningLog?.tasksFallenBack).toEqual([]);
      expect(first?.target).toBe("llvm -mcpu=x86-64-v3");
      const [one, other] = await Promise.all(engines.map((engine) => outputsOf(engine, 1)));
      expect(one).toEqual(other);
      expect(checks[0]?.flips ?? 0).toBe(0);
    },
    120_000,
  );

  it("tunes a small convolution for real, stops when told to, goes on where it was", async () => {
    const stop = new AbortController();
    const repository = await mkdtemp(join(root, "models-"));
    const given = { compiler: "autotvm", repository, options: ["trials=6", "repeat=1", "minRepeatMs=0"] };
    const trials: number[] = [];
    await expect(
      build({
        ...given,
        signal: stop.signal,
        onProgress: ({ trial }) => {
          if (trial !== undefined) trials.push(trial);
          if (trial === 2) stop.abort();
        },
      }),
    ).rejects.toThrow(/interrupted|stopped/i);
    expect(existsSync(join(repository, "signs/engines/autotvm-1"))).toBe(false);
    const resumed: (number | undefined)[] = [];
    const { engines } = await build({ ...given, onProgress: ({ trial }) => resumed.push(trial) });
    expect(resumed.find((trial) => trial !== undefined)).toBeGreaterThanOrEqual(2);
    const manifest = engines[0]?.manifest;
    expect(manifest?.tuningLog?.tasksHit).not.toEqual([]);
    const log = await readFile(join(engines[0]?.directory ?? "", manifest?.tuningLog?.file ?? ""), "utf8");
    expect(log.trim().split("\n")).toHaveLength(6);
  }, 120_000);

  it("lists weights that are graph inputs as no inputs, and hands inputs straight through", async () => {
    expect((await build()).engines).toHaveLength(1);
    const through = await build({ onnx: "through" });
    const [same, flat] = await outputsOf(through.engines[0] as Built, 3);
    expect(same).toEqual(flat);
    expect(new Float32Array((same as Uint8Array).buffer)[1]).toBe(Math.fround(Math.sin(4)));
  }, 120_000);

  it("refuses dynamic shapes unless they are given", async () => {
    await expect(build({ onnx: "dynamic" })).rejects.toThrow(/static shapes.*"image" \(batchx3x8x8\)/s);
    const { engines } = await build({ onnx: "dynamic", options: ["shape=image:1x3x8x8"] });
    expect(engines[0]?.manifest.compiler.name).toBe("tvm");
  }, 120_000);

  it("names an operator that it does not support", async () => {
    await expect(build({ onnx: "unsupported" })).rejects.toThrow(
      /operator Frobnicate is not supported by TVM/,
    );
  });

  it("names the damaged line of a tuning log", async () => {
    for (const compiler of ["autotvm", "autoscheduler"]) {
      const lines = readFileSync(join(demo, `tuning/${compiler}.jsonl`), "utf8").split("\n");
      const replay = join(root, `${compiler}-damaged.jsonl`);
      await writeFile(replay, [lines[0], lines[1]?.slice(0, 40), ...lines.slice(2)].join("\n"));
      await expect(build({ compiler, replay })).rejects.toThrow(/damaged\.jsonl line 2 is not a record/);
    }
  }, 120_000);

  it("refuses a log that fits no task, and one for another target", async () => {
    const replay = join(demo, "tuning/autotvm.jsonl");
    await expect(build({ compiler: "autotvm", replay })).rejects.toThrow(/not one task/);
    const options = ["target=llvm -mcpu=x86-64"];
    await expect(build({ compiler: "autotvm", replay, options })).rejects.toThrow(/is for target/);
  }, 120_000);

  it("does not load a library that was cut short", async () => {
    const { engines } = await build();
    const engine = engines[0] as Built;
    const directory = join(root, "cut");
    await mkdir(directory);
    await copyFile(join(engine.directory, "model.so"), join(directory, "model.so"));
    const bytes = (await readFile(join(directory, "model.so"))).subarray(0, -1);
    await writeFile(join(directory, "model.so"), bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const artifact = { ...engine.manifest.artifact, sha256 };
    await expect(outputsOf({ directory, manifest: { ...engine.manifest, artifact } }, 1)).rejects.toThrow(
      /not a TVM library/,
    );
  }, 120_000);
});

describe.skipIf(missingToday !== undefined)(`MetaSchedule (${missingToday ?? "today's wheel"})`, () => {
  it("replays the demo model's log twice into the same engine", async () => {
    const { engines, checks } = await build({
      onnx: join(demo, "model.onnx"),
      compiler: "metaschedule",
      builds: 2,
      replay: join(demo, "tuning/metaschedule.jsonl"),
    });
    const [first, second] = engines.map(({ manifest }) => manifest);
    expect(second?.fingerprint).toBe(first?.fingerprint);
    expect(tasksOf(first?.tuningLog).length).toBeGreaterThan(4);
    const [one, other] = await Promise.all(engines.map((engine) => outputsOf(engine, 1)));
    expect(one).toEqual(other);
    expect(checks[0]?.flips ?? 0).toBe(0);
  }, 120_000);
});
