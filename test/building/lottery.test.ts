import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { buildEngines } from "../../src/building/build-engines.ts";
import { chooseInputs } from "../../src/building/choose-inputs.ts";
import { type Compiler, type Families, readFamilies } from "../../src/building/families.ts";
import { type BuildPair, type LotteryEngine, runLottery } from "../../src/building/lottery.ts";
import { lotteryGroups, replayCommand } from "../../src/building/lottery-groups.ts";
import { lotteryText } from "../../src/cli/lottery-text.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { parseYamlFile } from "../../src/core/yaml-file.ts";
import { type EngineManifest, engineSchema, modelSchema } from "../../src/models/manifest.ts";

const demo = join(packageRoot(), "models/traffic-signs");
let families: Families;
let engines: LotteryEngine[];

beforeAll(async () => {
  families = await readFamilies({ root: packageRoot(), environment: process.env });
  const repository = join(await mkdtemp(join(tmpdir(), "crosscheck-lottery-")), "models");
  engines = [];
  for (const [level, builds] of [
    ["all", 2],
    ["disabled", 1],
  ] as const) {
    const ids = await buildEngines(
      {
        onnx: join(demo, "model.onnx"),
        model: "signs",
        repository,
        compiler: families.compiler("onnxruntime"),
        builds,
        precision: "fp32",
        options: [`graphOptimizationLevel=${level}`],
      },
      { clock: systemClock, onEvent: () => {} },
    );
    for (const id of ids) {
      const directory = join(repository, "signs/engines", id);
      engines.push({
        id,
        directory,
        manifest: await parseYamlFile(join(directory, "engine.yaml"), engineSchema),
      });
    }
  }
});

describe("runLottery", () => {
  it("tells equal builds from different functions, with times of each and the differences of every two", async () => {
    const config = await parseYamlFile(join(demo, "model.yaml"), modelSchema);
    const phases = new Set<string>();
    const lottery = await runLottery(engines, {
      families,
      compare: { task: config.task },
      runs: 300,
      inputsFor: async (info) =>
        (await chooseInputs({ directory: demo, config }, info.inputs, { given: undefined, most: 20 }))
          .samples,
      random: createRandom(1),
      clock: systemClock,
      log: silentLog,
      onProgress: ({ phase }) => phases.add(phase),
    });
    expect(lottery).toMatchObject({ compiler: "onnxruntime", precision: "fp32", inputs: 20, runs: 300 });
    expect(lottery.builds.map((build) => [build.id, build.function])).toEqual([
      ["onnxruntime-1", "A"],
      ["onnxruntime-2", "A"],
      ["onnxruntime-3", "B"],
    ]);
    expect(lottery).toMatchObject({ distinctFunctions: 2, distinctFingerprints: 2, distinctArtifacts: 2 });
    const [same, other] = lottery.pairs;
    expect(lottery.pairs).toHaveLength(3);
    expect(same).toEqual({
      a: "onnxruntime-1",
      b: "onnxruntime-2",
      samples: 20,
      bitEqual: 20,
      flips: 0,
      undecided: 0,
      undecidedReason: "",
      maxAbs: 0,
    });
    expect(other).toMatchObject({ a: "onnxruntime-1", b: "onnxruntime-3", flips: 0 });
    expect(other?.bitEqual).toBeLessThan(20);
    expect(other?.maxAbs).toBeGreaterThan(0);
    for (const build of lottery.builds) {
      expect(build.p50Seconds).toBeGreaterThan(0);
      expect(build.p99Seconds).toBeGreaterThanOrEqual(build.p50Seconds);
      expect(build.p99UpperBoundSeconds).toBeGreaterThanOrEqual(build.p99Seconds);
      expect(build.jitter.ipdvP99Seconds).toBeGreaterThan(0);
      expect(build.artifactBytes).toBeGreaterThan(100_000);
    }
    expect(lottery.spread.p50Ratio).toBeGreaterThanOrEqual(1);
    expect(lottery.spread.betweenBuildShare).toBeGreaterThanOrEqual(0);
    expect(lottery.spread.betweenBuildShare).toBeLessThanOrEqual(1);
    const fastest = lottery.builds.toSorted((a, b) => a.p99Seconds - b.p99Seconds)[0];
    expect(lottery.best).toBe(fastest?.id);
    expect([...phases]).toEqual(["loading 3 builds", "comparing outputs on 20 inputs", "timing"]);

    const text = lotteryText([{ ...lottery, replay: "npx crosscheck compile x", replayNote: null }]);
    expect(text).toMatch(/^onnxruntime-3\s+[0-9a-f]{10}\s+[0-9a-f]{10}\s+B\s/m);
    expect(text).toMatch(/^onnxruntime-1\s+=\s+100 %\s+[\d.]+ %, \S+e-\d, 0 f$/m);
    expect(text).not.toContain("not read");
    expect(text).toContain("Distinct functions: 2 of 3; fingerprints: 2 of 3; artifacts: 2 of 3.");
    expect(text).toContain(`Best by p99: ${lottery.best}. To make it again:\n  npx crosscheck compile x`);
  });

  it("says why decisions could not be read", async () => {
    const config = await parseYamlFile(join(demo, "model.yaml"), modelSchema);
    const lottery = await runLottery(engines.slice(0, 2), {
      families,
      compare: { task: "detection" },
      runs: 1,
      inputsFor: async (info) =>
        (await chooseInputs({ directory: demo, config }, info.inputs, { given: undefined, most: 2 })).samples,
      random: createRandom(1),
      clock: systemClock,
      log: silentLog,
      onProgress: () => {},
    });
    const [pair] = lottery.pairs as [BuildPair];
    expect(pair).toMatchObject({
      undecided: 2,
      undecidedReason: expect.stringContaining("set detection.scores"),
    });
    const text = (...pairs: BuildPair[]) =>
      lotteryText([{ ...lottery, pairs, replay: null, replayNote: "x" }]);
    expect(text(pair)).toContain(`Decisions not read on 2 of 2 inputs: ${pair.undecidedReason}`);
    const some = { ...pair, samples: 9, bitEqual: 1, flips: 3 };
    expect(text(some)).toMatch(/, 3 f of 7$/m);
    expect(text(some, { ...some, undecided: 4 }).match(/^Decisions not read .*$/gm)).toEqual([
      `Decisions not read on up to 4 of 9 inputs: ${pair.undecidedReason}`,
    ]);
  });

  it("wants two builds", async () => {
    const options = {
      families,
      compare: { task: "tensor" as const },
      runs: 1,
      inputsFor: async () => [],
      random: createRandom(1),
      clock: systemClock,
      log: silentLog,
      onProgress: () => {},
    };
    await expect(runLottery(engines.slice(0, 1), options)).rejects.toThrow("at least two builds");
  });
});

describe("lotteryGroups", () => {
  it("puts together what was made alike", () => {
    expect(lotteryGroups(engines).map((group) => group.map((engine) => engine.id))).toEqual([
      ["onnxruntime-1", "onnxruntime-2"],
      ["onnxruntime-3"],
    ]);
    const [first] = engines as [LotteryEngine];
    const replayed = { ...first, manifest: { ...first.manifest, notes: { replaySha256: "x" } } };
    expect(lotteryGroups([first, replayed])).toHaveLength(2);
  });
});

describe("replayCommand", () => {
  const paths = { repository: "models", modelFile: "models/my signs/model.onnx" };
  const compiler = (): Compiler => ({
    ...families.compiler("onnxruntime"),
    options: {
      trials: { type: "integer", default: 64, description: "" },
      target: { type: "string", default: "", description: "" },
    },
  });

  it("gives the exact command, with the options that are not default and quoted where the shell wants it", () => {
    const [first] = engines as [LotteryEngine];
    const manifest: EngineManifest = {
      ...first.manifest,
      precision: "fp16",
      options: { trials: 64, target: "llvm -mcpu=x", extra: 1 },
      tuningLog: { file: "log.json", sha256: "0".repeat(64) },
    };
    const replay = replayCommand(
      { ...first, directory: "models/signs/engines/e", manifest },
      compiler(),
      paths,
    );
    expect(replay).toEqual({
      command:
        "npx crosscheck compile 'models/my signs/model.onnx' --model signs --compiler onnxruntime --repository models " +
        "--precision fp16 --option 'target=llvm -mcpu=x' --replay models/signs/engines/e/log.json",
    });
  });

  it("says why there is none", () => {
    const [first] = engines as [LotteryEngine];
    expect(replayCommand(first, compiler(), paths)).toMatchObject({
      why: expect.stringContaining("leaves no log"),
    });
  });
});
