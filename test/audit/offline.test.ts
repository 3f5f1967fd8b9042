import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { renderReport } from "../../src/audit/report/render.ts";
import { type Report, reportSchema } from "../../src/audit/report/schema.ts";
import { buildEngines } from "../../src/building/build-engines.ts";
import { type Families, readFamilies } from "../../src/building/families.ts";
import { main } from "../../src/cli/main.ts";
import { systemClock } from "../../src/core/clock.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { readNpz } from "../../src/models/npz.ts";
import { audited, scripted, scriptedScene, verdictsOf, writeSamples } from "./_audit.ts";

const demo = join(packageRoot(), "models/traffic-signs");
let families: Families;
let repository: string;

beforeAll(async () => {
  families = await readFamilies({ root: packageRoot(), environment: process.env });
  repository = join(await mkdtemp(join(tmpdir(), "crosscheck-audit-")), "models");
  for (const [level, builds] of [
    ["all", 2],
    ["disabled", 1],
  ] as const)
    await build(join(demo, "model.onnx"), "traffic-signs", [`graphOptimizationLevel=${level}`], builds);
  for (const set of ["clean", "corrupted"]) {
    const npz = await readNpz(join(demo, `samples/${set}.npz`));
    const labels = Array.from(new BigInt64Array(npz.get("labels").data.slice().buffer), Number);
    await writeSamples(
      join(repository, `traffic-signs/samples/${set}.npz`),
      npz.get("image"),
      labels,
      set === "clean" ? 40 : 25,
    );
  }
  await copyFile(join(demo, "model.yaml"), join(repository, "traffic-signs/model.yaml"));
});

async function build(onnx: string, model: string, options: readonly string[], builds: number): Promise<void> {
  await buildEngines(
    {
      onnx,
      model,
      repository,
      compiler: families.compiler("onnxruntime"),
      builds,
      precision: "fp32",
      options,
    },
    { clock: systemClock, onEvent: () => {} },
  );
}

describe("an audit of real engines", () => {
  it("tells speed, spread, outputs and accuracy of every engine on the model's own samples", async () => {
    const phases = new Set<string>();
    const report = await audited({
      repository,
      model: "traffic-signs",
      families,
      runs: 120,
      onProgress: ({ phase }) => phases.add(phase.split(" ")[0] as string),
    });
    expect([...phases]).toEqual(["loading", "measuring", "asking"]);
    expect(report).toMatchObject({
      kind: "offline",
      model: { reference: "onnxruntime-1", task: "classification", deadlineSeconds: 0.02 },
      dataset: { inputs: 65, labelledInputs: 65 },
      run: { requestsPerEngine: 120, seed: 1 },
    });
    expect(report.engines.map(({ id, role }) => [id, role])).toEqual([
      ["onnxruntime-1", "reference"],
      ["onnxruntime-2", "candidate"],
      ["onnxruntime-3", "candidate"],
    ]);
    for (const {
      latency,
      jitter,
      accuracy,
      labelled,
      selfChecks,
      seriesSeconds,
      realTime,
    } of report.engines) {
      expect(latency.samples).toBe(120);
      expect(seriesSeconds).toHaveLength(120);
      expect(latency.p99Seconds).toBeGreaterThanOrEqual(latency.p50Seconds ?? Infinity);
      expect(latency.maxSeconds).toBe(Math.max(...(seriesSeconds ?? [])));
      // 120 samples cannot bound p99 with 95 % confidence, nor tell p99.9.
      expect([latency.p99UpperBoundSeconds, latency.p999Seconds]).toEqual([null, null]);
      expect(jitter.ipdvP99Seconds).toBeGreaterThan(0);
      expect(labelled.map(({ set, samples }) => [set, samples])).toEqual([
        ["clean", 40],
        ["corrupted", 25],
      ]);
      expect(accuracy.clean).toBe((labelled[0]?.correct ?? 0) / 40);
      expect(accuracy.clean).toBeGreaterThan(0.9);
      expect(selfChecks).toEqual([
        { check: "rerun", samples: 32, bitEqual: 32, disagreements: 0 },
        { check: "process", samples: 32, bitEqual: 32, disagreements: 0 },
      ]);
      expect(realTime?.requests).toBe(120);
    }
    expect(report.engines[1]?.labelled[0]).toMatchObject({
      negativeFlips: 0,
      positiveFlips: 0,
      negativeFlipRatio: 0,
      accuracyDeltaRatio: 0,
      mcnemarPValue: 1,
    });
    expect(report.engines[1]?.labelled[0]?.negativeFlipUpperBoundRatio).toBeCloseTo(1 - 0.05 ** (1 / 40));
    expect(report.pairs[0]?.flipUpperBoundRatio).toBeCloseTo(1 - 0.05 ** (1 / 65));
    expect(report.engines[0]?.speedTest).toBeNull();
    expect(report.engines[1]?.speedTest).toMatchObject({ blocks: 20, referenceBlocks: 20 });
    expect(report.engines[2]).toMatchObject({
      options: { graphOptimizationLevel: "disabled" },
      seed: null,
      replay: {
        command: expect.stringMatching(/^npx crosscheck compile .*--option graphOptimizationLevel=disabled$/),
        note: expect.stringContaining("keep the artifact itself"),
      },
    });
    expect(renderReport(report, "md")).toContain("graphOptimizationLevel=disabled");
    const slow = {
      device: "A board",
      engines: ["a", "b"],
      rounds: 24,
      expectedRounds: 0.5,
      longestStretch: 12,
    };
    const disturbed = { ...report, run: report.run && { ...report.run, slowTogether: [slow] } };
    expect(renderReport(disturbed, "md")).toContain("| A board | a, b | 24/120 | 0.5 | 12 |");
    const absent = report.notApplicable.map(({ table }) => table);
    expect(absent).toEqual(
      expect.arrayContaining(["Parameters, memory bandwidth", "Most streams within the deadline"]),
    );
    expect(absent).not.toContain("Real time");
    expect(absent).not.toContain("Rebuild check");
    expect(report.model.work).toEqual({
      floatingPointOperations: 30_668_544,
      countedNodes: { Conv: 4, Gemm: 1 },
      unknownReason: null,
    });
    expect(renderReport(report, "md")).toContain("0.0307 GFLOP");
    expect(report.rebuilds).toEqual([
      {
        how: "sameSettings",
        engine: "onnxruntime-1",
        again: "onnxruntime-2",
        fingerprintEqual: true,
        artifactEqual: true,
        logEqual: null,
        samples: 65,
        bitEqual: 65,
      },
    ]);
    expect(renderReport(report, "md")).toContain("**Built again**");
    const [same, other] = report.pairs;
    expect(report.pairs).toHaveLength(3);
    expect(same).toMatchObject({
      reference: "onnxruntime-1",
      candidate: "onnxruntime-2",
      samples: 65,
      bitEqual: 65,
      flips: 0,
      maxAbs: 0,
    });
    expect(other).toMatchObject({ candidate: "onnxruntime-3", samples: 65, within: 65, flips: 0 });
    expect(other?.maxAbs).toBeGreaterThan(0);
    expect(report.builds).toMatchObject([
      { engines: ["onnxruntime-1", "onnxruntime-2"], distinctFunctions: 1, distinctFingerprints: 1 },
    ]);
    expect(report.builds[0]?.p50SpreadRatio).toBeGreaterThanOrEqual(1);
    expect(report.worstInputs.every(({ engine, flip }) => engine === "onnxruntime-3" && !flip)).toBe(true);
    expect(report.ranking?.compilers.map(({ compiler }) => compiler)).toEqual(["onnxruntime"]);
  });

  const ultraface = join(packageRoot(), "../shared/data/ultraface");
  it.skipIf(!existsSync(ultraface))(
    "reads a folder of photographs as model.yaml says (skipped without the face detector's data)",
    async () => {
      await build(join(ultraface, "slim-320.onnx"), "face", [], 1);
      await build(join(ultraface, "slim-320.onnx"), "face", ["graphOptimizationLevel=disabled"], 1);
      await writeFile(
        join(repository, "face/model.yaml"),
        [
          "name: face",
          "task: detection",
          "preprocess: { size: [240, 320], color: rgb, mean: 127, scale: 0.0078125, layout: nchw }",
          "detection: { scores: scores, boxes: boxes, background: 0, scoreThreshold: 0.7, nmsIou: 0.3 }",
        ].join("\n"),
      );
      const report = await audited({
        repository,
        model: "face",
        families,
        runs: 10,
        inputs: join(ultraface, "images"),
      });
      expect(report.dataset).toMatchObject({ source: "10 images of images", inputs: 10, labelledInputs: 0 });
      expect(report.pairs).toMatchObject([{ samples: 10, flips: 0, invalid: 0, diverged: 0 }]);
      expect(report.pairs[0]?.detection).toMatchObject({ changed: 0, classFlips: 0 });
      expect(report.pairs[0]?.detection?.matched).toBeGreaterThan(10);
      expect(renderReport(report, "md")).toContain("**Detections**");
      expect(report.notApplicable).toContainEqual({
        table: "Real time",
        reason: expect.stringContaining("deadlineMs"),
      });
      expect(report.worstInputs.length).toBeGreaterThan(0);
      expect(report.worstInputs[0]?.input).toMatch(/\.jpg$/);
      expect(report.engines[0]).toMatchObject({ accuracy: { clean: null, corrupted: null }, realTime: null });
    },
  );
});

describe("an injected fault", () => {
  it("fails by its rule, and the reference does not", { timeout: 180_000 }, async () => {
    const faults = {
      "wrong-class": [{ fault: "wrongClass", rate: 0.2 }, "flipRatio"],
      "not-a-number": [{ fault: "nan", rate: 0.2 }, "divergence"],
      "wrong-output": [{ fault: "swapped" }, "divergence"],
      slow: [{ sleepMicroseconds: 3000 }, "pairedSlowdown"],
      unsure: [{ fault: "unsure" }, "selfIdentity"],
      crashing: [{ fault: "crash", rate: 0.06 }, "errorRatio"],
    } as const;
    const engines = Object.entries(faults).map(([id, [engine]]) => [
      id,
      { sleepMicroseconds: 300, ...engine },
    ]);
    const scene = await scriptedScene({ a: { sleepMicroseconds: 300 }, ...Object.fromEntries(engines) });
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 300 });
    expect(report.verdict).toBe("fail");
    for (const [id, [, rule]] of Object.entries(faults)) {
      expect([id, verdictsOf(report, id)[rule]]).toEqual([id, "fail"]);
      expect(report.verdictReason).toMatch(new RegExp(`${id} fails [^;]*${rule}`));
    }
    expect(Object.values(verdictsOf(report, "a"))).not.toContain("fail");
    expect(report.ranking?.recommendation.engine).toBe("a");

    const pair = report.pairs.find(
      ({ reference, candidate }) => reference === "a" && candidate === "wrong-class",
    );
    expect(pair?.flips).toBeGreaterThan(30);
    const wrong = report.engines.find(({ id }) => id === "wrong-class");
    expect(wrong?.labelled).toMatchObject([
      { set: "given", samples: 300, negativeFlips: pair?.flips, positiveFlips: 0 },
    ]);
    expect(wrong?.labelled[0]?.mcnemarPValue).toBeLessThan(1e-6);
    expect(report.engines.find(({ id }) => id === "crashing")?.failures).toBeGreaterThan(5);
    expect(report.worstInputs).toHaveLength(20);
    expect(report.worstInputs.every(({ result }) => result === "invalid")).toBe(true);
  });

  it("an engine that cannot be loaded fails; the others are audited", async () => {
    const scene = await scriptedScene({ a: {}, b: {} }, { count: 20 });
    await writeFile(join(scene.repository, "m/engines/b/artifact.bin"), "changed");
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 20 });
    expect(report.engines[1]).toMatchObject({
      id: "b",
      verdict: "fail",
      latency: { samples: 0, p50Seconds: null },
    });
    expect(verdictsOf(report, "b")).toEqual({ loads: "fail" });
    expect(report.engines[0]?.latency.samples).toBe(20);
  });

  it("a reference that was not asked for is shown, but not judged", async () => {
    const scene = await scriptedScene({ a: {}, b: {}, c: { fault: "nan", rate: 1 } }, { count: 20 });
    const report = await audited({
      ...scene,
      model: "m",
      families: await scripted,
      runs: 20,
      engines: ["b"],
    });
    expect(report.engines.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["a", null],
      ["b", "inconclusive"],
    ]);
  });
});

describe("what is counted", () => {
  const rule = (report: Report, id: string, name: string) =>
    report.engines.find((one) => one.id === id)?.verdicts.find((one) => one.rule === name);

  it("takes every request and every input for one observation, the last one included, and names them so", async () => {
    const scene = await scriptedScene({ a: {}, b: {} }, { count: 40, settings: { deadlineMs: 1000 } });
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 25 });
    const seen = (name: string) => {
      const found = rule(report, "b", name);
      return [found?.have, found?.unit, found?.source];
    };
    expect(seen("deadlineMissRatio")).toEqual([25, "requests", "requests"]);
    expect(seen("pairedSlowdown")).toEqual([25, "pairs", "pairs"]);
    expect(seen("flipRatio")).toEqual([40, "inputs", "inputs"]);
    expect(rule(report, "b", "flipRatio")?.reason).not.toContain("block");
    // The device is looked at once a round, whether that is a request, a pair or both.
    expect([seen("deviceHealth"), rule(report, "a", "deviceHealth")?.have]).toEqual([
      [25, "samples", "device"],
      25,
    ]);
    // Inputs that are compared and not timed could fail too, the reference's as well.
    expect([seen("errorRatio")[0], rule(report, "a", "errorRatio")?.have]).toEqual([40, 40]);
    expect(seen("selfIdentity")).toEqual([64, "inputs", "selfChecks"]);
  });

  it("takes the processor time of the timed requests, and streams sent by the clock", async () => {
    const settings = {
      deadlineMs: 5,
      policy: { rules: [{ rule: "deadlineMissRatio", threshold: 0.5 }] },
    };
    const scene = await scriptedScene({ a: { sleepMicroseconds: 1000 } }, { count: 5, settings });
    const options = { ...scene, model: "m", families: await scripted, runs: 300 };
    const report = await audited({ ...options, streamsSeconds: 3 });
    const [a] = report.engines;
    expect(a?.cpu?.requests).toBe(300);
    // It spins for a millisecond.
    expect(a?.cpu?.secondsPerRequest).toBeGreaterThan(0.0008);
    expect(a?.cpu?.secondsPerRequest).toBeLessThan(0.004);
    expect(a?.cpu?.coresBusy).toBeLessThan(2);
    expect(a?.streams).toMatchObject({ periodSeconds: 0.005, targetMissRatio: 0.5 });
    expect(a?.streams?.held?.streams).toBeGreaterThanOrEqual(1);
    const md = renderReport(report, "md");
    for (const caption of ["Processor time of each engine's host", "Most streams, one frame a period each"])
      expect(md).toContain(caption);
    const few = await audited({ ...options, runs: 5 });
    const { deadlineMs: _, ...timeless } = settings;
    const other = await scriptedScene({ a: {} }, { count: 5, settings: timeless });
    await expect(audited({ ...options, ...other, streamsSeconds: 3 })).rejects.toThrow(/add deadlineMs/);
    expect(few.engines[0]).toMatchObject({ cpu: null, streams: null });
    expect(few.notApplicable.map(({ table }) => table)).toEqual(
      expect.arrayContaining(["Processor time", "Most streams within the deadline", "Rebuild check"]),
    );
    expect(few.model.work).toMatchObject({
      floatingPointOperations: null,
      unknownReason: expect.stringContaining("is not an ONNX model"),
    });
  });

  it("says why decisions are undecided where they could not be read", async () => {
    const detection = { scores: "nothing", boxes: "boxes" };
    const scene = await scriptedScene(
      { a: {}, b: {} },
      { count: 5, settings: { task: "detection", detection } },
    );
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 5 });
    expect(rule(report, "b", "flipRatio")).toMatchObject({
      verdict: "inconclusive",
      have: 0,
      need: null,
      reason: expect.stringMatching(/^none of 5 decisions could be read: .*"nothing"/),
    });
    expect(report.verdictReason).toContain("flipRatio");
    expect(renderReport(report, "md")).toContain("**Decisions that could not be read**");
    expect(report.ranking?.compilers[0]?.flipRatio).toBeNull();
  });

  it("judges a single input", async () => {
    const scene = await scriptedScene({ a: {}, b: {} }, { count: 1 });
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 1 });
    expect(rule(report, "b", "flipRatio")).toMatchObject({ have: 1, value: 0 });
  });

  it("takes a request that was not answered for a missed deadline", async () => {
    const scene = await scriptedScene(
      { a: {}, b: { fault: "crash", rate: 0.1 } },
      { count: 100, settings: { deadlineMs: 1000 } },
    );
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 100 });
    const b = report.engines.find(({ id }) => id === "b");
    expect(b?.failures).toBeGreaterThan(0);
    expect(b?.realTime).toMatchObject({ requests: 100, misses: b?.failures, boundRequests: 100 });
    expect(rule(report, "b", "deadlineMissRatio")).toMatchObject({ have: 100 });
    expect(rule(report, "b", "deadlineMissRatio")?.value).toBeCloseTo((b?.failures ?? 0) / 100);
  });
});

describe("crosscheck audit", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = 0;
  });

  async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const written = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      vi.spyOn(process[name], "write").mockImplementation((text) => {
        written[name] += String(text);
        return true;
      });
    process.exitCode = 0;
    try {
      await main(["audit", ...args]);
    } finally {
      vi.restoreAllMocks();
    }
    return { code: process.exitCode ?? 0, ...written };
  }

  it("is inconclusive, exit 3, with too few runs, and writes all three reports", async () => {
    const out = join(await mkdtemp(join(tmpdir(), "crosscheck-audit-out-")), "new/folder");
    const { code, stdout, stderr } = await run(
      "traffic-signs",
      ...["--repository", repository, "--runs", "5", "--engines", "onnxruntime-2", "--out", out],
    );
    expect(code).toBe(3);
    expect(stdout).toMatch(/^INCONCLUSIVE: onnxruntime-2: .*undecided/);
    expect(stderr).toContain("measuring");
    const report = reportSchema.parse(JSON.parse(await readFile(join(out, "report.json"), "utf8")));
    expect(report.verdict).toBe("inconclusive");
    const open = report.engines[1]?.verdicts.filter(({ verdict }) => verdict === "inconclusive") ?? [];
    expect(open.length).toBeGreaterThan(0);
    expect(open.some(({ need }) => (need ?? 0) > 0)).toBe(true);
    expect(await readFile(join(out, "report.md"), "utf8")).toContain("**INCONCLUSIVE**");
    expect(await readFile(join(out, "report.html"), "utf8")).toContain("Audit of traffic-signs");
  });

  it("passes, exit 0, when every requirement of the policy is met", async () => {
    const rules =
      "[{rule: flipRatio, threshold: 0.5}, {rule: divergence, threshold: 0.5}, {rule: errorRatio, threshold: 0.5}]";
    const text = await readFile(join(demo, "model.yaml"), "utf8");
    const yaml = join(repository, "traffic-signs/model.yaml");
    await writeFile(yaml, `${text}\npolicy: { rules: ${rules} }\n`);
    const out = await mkdtemp(join(tmpdir(), "crosscheck-audit-out-"));
    try {
      const { code, stdout } = await run(
        "traffic-signs",
        "--repository",
        repository,
        "--runs",
        "20",
        "--out",
        out,
      );
      expect(stdout).toMatch(
        /^PASS: onnxruntime-1, onnxruntime-2, onnxruntime-3: every requirement is met\nRecommended: onnxruntime/,
      );
      expect(code).toBe(0);
    } finally {
      await writeFile(yaml, text);
    }
  });

  it("says what to give, exit 2, when it is asked wrongly", async () => {
    const bare = join(await mkdtemp(join(tmpdir(), "crosscheck-audit-")), "models");
    await mkdir(join(bare, "empty"), { recursive: true });
    await writeFile(join(bare, "empty/model.yaml"), "name: empty\n");
    const file = join(bare, "file");
    await writeFile(file, "");
    const cases: [string[], RegExp][] = [
      [
        ["traffic-signs", "--repository", repository, "--out", join(file, "out")],
        /--out .*cannot be written/,
      ],
      [["traffic-signs", "--repository", repository], /required option '--out/],
      [["nothing", "--repository", repository, "--out", bare], /model "nothing" is not in the repository/],
      [
        ["empty", "--repository", bare, "--out", bare],
        /no reference to judge against; make one: npx crosscheck compile/,
      ],
      [["traffic-signs", "--repository", repository, "--out", bare, "--engines", "x"], /has no engine "x"/],
      [
        ["traffic-signs", "--repository", repository, "--out", bare, "--inputs", "/nowhere"],
        /no such file or folder/,
      ],
      [
        ["traffic-signs", "--repository", repository, "--out", bare, "--inputs", bare],
        /holds neither images/,
      ],
      [["traffic-signs", "--repository", repository, "--out", bare, "--runs", "0"], /whole number/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await run(...args);
      expect(stderr).toMatch(message);
      expect(code).toBe(2);
      // Inputs have to be opened to be found unfit; all else is told before an engine is loaded.
      if (!/holds neither/.test(stderr)) expect(stderr).not.toContain("loading");
    }
  });
});
