import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { createAuditor } from "../../src/audit/auditor.ts";
import { createEvidenceKeeper } from "../../src/audit/evidence-keeper.ts";
import { createFeedback } from "../../src/audit/feedback.ts";
import { createLiveReport } from "../../src/audit/report/live-report.ts";
import { limits } from "../../src/audit/report/limits.ts";
import { timingOfSeries } from "../../src/audit/report/latency.ts";
import { rankCompilers } from "../../src/audit/report/ranking.ts";
import { renderReport } from "../../src/audit/report/render.ts";
import { type Report, type ReportEngine, reportSchema } from "../../src/audit/report/schema.ts";
import { openEngine } from "../../src/building/open-engine.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { systemClock } from "../../src/core/clock.ts";
import { isInTurns, shareInTurns } from "../../src/core/engine.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { createTurns } from "../../src/core/turns.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import type { Engine } from "../../src/models/engine.ts";
import { createModels } from "../../src/models/models.ts";
import { openRepository } from "../../src/models/repository.ts";
import { audited, scripted, scriptedScene } from "./_audit.ts";
import { run as runOf, shadowed } from "./_auditor.ts";

describe("a rendered report", () => {
  it("is one page without script or outside requests, with a picture of each kind, and the same tables in Markdown", async () => {
    const scene = await scriptedScene(
      { a: {}, b: { fault: "wrongClass", rate: 0.3 }, c: {} },
      { count: 40, settings: { deadlineMs: 20 } },
    );
    const report = await audited({ ...scene, model: "m", families: await scripted, runs: 110 });
    const html = renderReport(report, "html");
    expect(html).not.toMatch(/<script|<link|<img|src=|@import|url\((?!#)/i);
    // The only addresses are the names of SVG's namespaces and this page's own sections.
    expect(
      html.match(/https?:\/\/[^"'\s<)]+/g)?.filter((url) => !url.startsWith("http://www.w3.org/")) ?? [],
    ).toEqual([]);
    expect(html.match(/<svg/g)).toHaveLength(3);
    for (const name of ["Distribution", "Cumulative", "Course"])
      expect(html).toContain(`<strong>${name}.</strong>`);
    expect(html).toContain("prefers-color-scheme:dark");
    // The name of the course's axis lies inside the picture, which is 290 high.
    const [, below, down] =
      html.match(/y="([\d.]+)" transform="translate\([\d.]+ ([\d.]+)\)"[^>]*>request</) ?? [];
    expect(Number(below) + Number(down) + 13 / 2).toBeLessThan(290);
    // What can be scrolled to the right throws a shadow there.
    expect(html).toContain("no-repeat scroll");
    for (const [, section] of html.matchAll(/href="#([^"]+)"/g)) expect(html).toContain(`id="${section}"`);

    const md = renderReport(report, "md");
    for (const title of [
      "Compilers",
      "Gain",
      "Real time",
      "Builds",
      "Outputs",
      "Statement",
      "Reproduce",
      "Limits",
    ]) {
      expect(md).toContain(`\n## ${title}\n`);
      expect(html).toContain(`<h2>${title}</h2>`);
    }
    const flips = report.pairs.find(({ candidate }) => candidate === "b")?.flips;
    expect(md).toContain(`${flips}/40`);
    expect(html).toContain(`${flips}/40`);
    // Every row of a table has as many cells as its head.
    const widths = md.split("\n\n").filter((part) => part.startsWith("|") || part.includes("\n|"));
    for (const part of widths) {
      const cells = part
        .split("\n")
        .filter((line) => line.startsWith("|"))
        .map((line) => line.split(/(?<!\\)\|/).length);
      expect(new Set(cells).size).toBe(1);
    }
    expect(md).toContain("not a safety certification");
    expect(reportSchema.parse(JSON.parse(renderReport(report, "json")))).toEqual(report);
  });

  it("shows names and reasons as text, whatever they hold", () => {
    const nasty = `<script>alert("x")</script> | *a* \`b\``;
    const report = made([engine("e", "c", { error: nasty, failures: 1 })]);
    const html = renderReport({ ...report, verdictReason: nasty }, "html");
    expect(html).not.toContain("<script>");
    expect(html).toContain("&#60;script&#62;");
    expect(renderReport({ ...report, verdictReason: nasty }, "md")).toContain(String.raw`\<script\>`);
  });
});

describe("limits", () => {
  it("tell of engines that had a GPU in turns, and only then", () => {
    const device = (mps?: boolean) => ({ device: { kind: "cuda", name: "GPU", mps } });
    expect([device(), device(false), device(true)].map(isInTurns)).toEqual([true, true, false]);
    expect(isInTurns({ device: { kind: "cpu", name: "CPU" } })).toBe(false);
    expect(shareInTurns([device(false), device(true), device()])).toBe(false);
    expect(shareInTurns([device(false), device(true), device(false)])).toBe(true);
    expect(limits("offline", { inTurns: true }).at(-1)).toContain("nvidia-cuda-mps-control -d");
    expect(limits("offline").join("\n")).not.toContain("nvidia-cuda-mps-control");
  });
});

describe("timingOfSeries", () => {
  it("gives a figure only where the samples support it", () => {
    const series = (n: number) => Array.from({ length: n }, (_, i) => (i + 1) / 1000);
    expect(timingOfSeries(series(50), 0.05).latency).toMatchObject({
      p50Seconds: 0.025,
      p90Seconds: 0.045,
      p99Seconds: null,
      maxSeconds: 0.05,
      speedupRatio: 2,
    });
    const some = timingOfSeries(series(300), null);
    expect(some.latency).toMatchObject({ p99Seconds: 0.297, p999Seconds: null, p99UpperBoundSeconds: 0.3 });
    expect(some.jitter.ipdvP99Seconds).toBeCloseTo(0.001);
    expect(some.distribution?.counts.reduce((sum, count) => sum + count, 0)).toBe(300);
    expect(timingOfSeries([], null).latency).toMatchObject({ samples: 0, p50Seconds: null });
  });
});

describe("rankCompilers", () => {
  it("puts a compiler that fails last, however fast it is, and says why", () => {
    const ranking = rankCompilers(
      made([
        engine("fast-1", "fast", { p99: 0.001, verdict: "fail" }),
        engine("slow-1", "slow", { p99: 0.01 }),
      ]),
    );
    expect(ranking?.compilers.map(({ compiler }) => compiler)).toEqual(["slow", "fast"]);
    expect(ranking?.recommendation).toEqual({
      engine: "slow-1",
      reason: expect.stringMatching(
        /^slow, engine slow-1: verdict: fails no requirement, where fast fails a requirement\. /,
      ),
    });
  });

  it("prefers builds that are alike to faster ones that are a lottery", () => {
    const engines = [
      engine("steady-1", "steady", { p99: 0.011 }),
      engine("steady-2", "steady", { p99: 0.0112 }),
      engine("lottery-1", "lottery", { p99: 0.009 }),
      engine("lottery-2", "lottery", { p99: 0.02 }),
    ];
    const group = (compiler: string, p99SpreadRatio: number, betweenBuildShareRatio: number) => ({
      compiler,
      precision: "fp32",
      engines: [`${compiler}-1`, `${compiler}-2`],
      p50SpreadRatio: p99SpreadRatio,
      p99SpreadRatio,
      betweenBuildShareRatio,
      distinctFingerprints: 1,
      distinctArtifacts: 1,
      distinctFunctions: 1,
      verdictsChangedByBuild: [],
    });
    const builds = [group("steady", 1.02, 0.1), group("lottery", 2.2, 0.95)];
    const ranking = rankCompilers({ ...made(engines), builds });
    expect(ranking?.compilers.map(({ bestEngine }) => bestEngine)).toEqual(["steady-1", "lottery-1"]);
    expect(ranking?.compilers[0]?.reason).toMatch(/^X1.*1\.02 x.*lottery has builds that differ by 2\.20 x/);
    // First builds say lottery before steady, second ones the opposite.
    expect(ranking?.kendallTau).toBe(-1);
  });

  it("holds changed decisions against the reference's siblings, not against the reference", () => {
    const flips = (verdict: "pass" | "fail") => ({
      rule: "flipRatio" as const,
      verdict,
      value: 0,
      threshold: 0.001,
      lower: null,
      upper: null,
      have: 1,
      need: 0,
      unit: "inputs",
      alpha: 0.01,
      source: "inputs" as const,
      scope: "whole" as const,
      reason: "",
    });
    const report = made([
      engine("ort-1", "ort", { p99: 0.001 }),
      { ...engine("ort-2", "ort", { p99: 0.002 }), verdicts: [flips("fail")] },
      { ...engine("other-1", "other", { p99: 0.01 }), verdicts: [flips("pass")] },
    ]);
    const ranking = rankCompilers({ ...report, model: { ...report.model, reference: "ort-1" } });
    expect(ranking?.compilers.map(({ compiler }) => compiler)).toEqual(["other", "ort"]);
    expect(ranking?.compilers[0]?.reason).toMatch(/^flips: decisions pass .*, where ort has decisions fail/);
    // Alone, the first build is recommended, and no other.
    const passing = { ...engine("ort-1", "ort", { p99: 0.001, verdict: "pass" }), verdicts: [flips("pass")] };
    const sibling = { ...engine("ort-2", "ort", { verdict: "fail" }), verdicts: [flips("fail")] };
    expect(rankCompilers(made([passing, sibling]))?.recommendation).toEqual({
      engine: "ort-1",
      reason: expect.stringMatching(/another build of the same compiler does not: use this artifact/),
    });
    expect(rankCompilers(made([passing]))?.recommendation.reason).toMatch(/It meets every requirement\.$/);
  });

  it("leaves out a reference that nobody asked for", () => {
    const reference = { ...engine("ort-1", "ort", { p99: 0.001 }), verdict: null };
    const ranking = rankCompilers(made([reference, engine("other-1", "other")]));
    expect(ranking?.compilers.map(({ compiler }) => compiler)).toEqual(["other"]);
    expect(ranking?.recommendation.engine).toBe("other-1");
    expect(rankCompilers(made([reference]))).toBeNull();
  });

  it("recommends nobody when every compiler fails", () => {
    const ranking = rankCompilers(made([engine("a", "a", { verdict: "fail" })]));
    expect(ranking?.recommendation).toEqual({
      engine: null,
      reason: expect.stringContaining("fails a requirement"),
    });
  });
});

describe("completion jitter", () => {
  const completion = (series: readonly number[], period?: number) =>
    timingOfSeries(series, null, period).jitter.completionP99Seconds;
  const even = Array.from({ length: 200 }, () => 0.004);

  it("is none for even answers, and needs a period to stray from", () => {
    expect(completion(even, 0.01)).toBeCloseTo(0, 12);
    expect(completion(even)).toBeNull();
    expect(completion(even.slice(0, 100), 0.01)).toBeNull();
  });

  it("counts what a long run does to the ones that wait for it", () => {
    // 35 ms in a period of 10: the answer comes 31 ms late, the next ones 6 ms too soon each, until it is caught up.
    const bursts = even.map((seconds, i) => (i % 20 === 10 ? 0.035 : seconds));
    expect(completion(bursts, 0.01)).toBeCloseTo(0.031, 9);
    expect(timingOfSeries(bursts, null, 0.01).jitter.ipdvP99Seconds).toBeCloseTo(0.031, 9);
    // No longer than the period: nobody waits.
    expect(
      completion(
        even.map((seconds, i) => (i % 2 === 0 ? 0.009 : seconds)),
        0.01,
      ),
    ).toBeCloseTo(0.005, 9);
  });
});

describe("the live report", () => {
  const closing: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0)) await close();
  });

  async function opened(settings: object) {
    const scene = await scriptedScene(
      { a: { sleepMicroseconds: 200 }, b: { sleepMicroseconds: 200, fault: "wrongClass", rate: 0.3 } },
      { settings: { active: "a", policy: { blockMs: 0.01 }, ...settings } },
    );
    const families = await scripted;
    const metrics = createMetrics({ clock: systemClock });
    const models = createModels({
      repository: await openRepository(scene.repository),
      openPool: (_model, folder) =>
        openEngine(folder, families.hostCommand("scripted"), { clock: systemClock, log: silentLog }),
      recall: async () => undefined,
      memoryBudgetBytes: Infinity,
      turns: createTurns(),
      onEvent: () => {},
      clock: systemClock,
      log: silentLog,
    });
    closing.push(() => models.close());
    await models.start();
    const store = { read: async () => undefined, write: async () => {} };
    const keeper = createEvidenceKeeper({
      store,
      keyPrefix: "",
      seed: () => 1,
      log: silentLog,
    });
    closing.push(() => keeper.close());
    const auditor = createAuditor({
      metrics,
      deviceState: () => "ok",
      roleOf: (model, one) => (one === model.active ? "active" : "candidate"),
      keeper,
      clock: systemClock,
      log: silentLog,
    });
    const feedback = createFeedback({ store, keyPrefix: "", log: silentLog });
    closing.push(() => feedback.close());
    const report = createLiveReport({
      auditor,
      models,
      feedback,
      readings: () => [],
      crosscheckVersion: "test",
      clock: systemClock,
    });
    const model = models.get("m");
    const [a, b] = [model.engine("a"), model.engine("b")] as [Engine, Engine];
    const random = createRandom(3);

    async function serve(i: number): Promise<readonly Tensor[]> {
      const values = Float32Array.from([0, 0, 0, 0], () => random.next());
      const data = new Uint8Array(values.buffer);
      const request = { inputs: [{ name: "x", datatype: "FP32" as const, shape: [1, 4], data }] };
      const reply = await a.infer(request);
      auditor.answered({ model, engine: a, seconds: 0.001 });
      const runs = [];
      for (const one of i % 2 === 0 ? [a, b] : [b, a]) {
        const { outputs, engineSeconds } = await one.infer(request);
        const role = one === a ? ("control" as const) : ("shadow" as const);
        runs.push(runOf(one, role, { outputs, engineSeconds }));
      }
      shadowed(auditor, model, runs, { id: `r${i}`, engine: a, outputs: reply.outputs });
      return reply.outputs;
    }

    return { report, serve, feedback, model, a, b };
  }

  it("says in the same schema what live evidence knows, and null for the rest", async () => {
    const { report, serve, feedback, model, a, b } = await opened({ deadlineMs: 20 });
    const before = reportSchema.parse(JSON.parse(await report("m", "json")));
    expect(before).toMatchObject({ kind: "live", verdict: "inconclusive", dataset: null, run: null });

    await b.load();
    for (let i = 0; i < 200; i += 1) {
      const outputs = await serve(i);
      feedback.answered(model, `r${i}`, a, outputs);
      if (i < 10) feedback.label(model, `r${i}`, 0);
    }
    const live = reportSchema.parse(JSON.parse(await report("m", "json")));
    expect(live.engines.map(({ id, role }) => [id, role])).toEqual([
      ["a", "active"],
      ["b", "candidate"],
    ]);
    const [pair] = live.pairs;
    expect(pair).toMatchObject({ reference: "a", candidate: "b", samples: 200 });
    expect(pair?.flips).toBeGreaterThan(20);
    expect(pair?.maxAbs).toBeGreaterThan(0);
    expect(live).toMatchObject({ verdict: "fail" });
    expect(live.verdictReason).toContain("b fails");
    for (const { latency, seriesSeconds } of live.engines) {
      expect(latency.source).toBe("shadowRuns");
      expect(latency.samples).toBeGreaterThan(100);
      expect(latency.p50Seconds).toBeGreaterThan(0.0001);
      expect(seriesSeconds).toBeNull();
    }
    // All but the ten that warmed it up.
    expect(live.engines[0]?.realTime).toMatchObject({ requests: 190, misses: 0, longestMissRun: null });
    // Of each block one request speaks for the bound; the block under way does not yet.
    const bound = live.engines[0]?.realTime?.boundRequests ?? 0;
    expect(bound).toBeGreaterThan(0);
    expect(bound).toBeLessThan(200);
    expect(live.engines[0]?.realTime?.missUpperBoundRatio).toBeCloseTo(1 - 0.05 ** (1 / bound));
    expect(new Set(live.engines[1]?.verdicts.map(({ source }) => source))).toEqual(
      new Set(["shadow", "comparison", "device"]),
    );
    expect(live.engines[0]?.labelled).toMatchObject([{ set: "feedback", samples: 10 }]);
    expect(await report("m", "html")).toContain("Live report on m");
    expect(await report("m", "md")).toContain("## Statement");
    await expect(report("other", "md")).rejects.toThrow(/other/);
  });

  it("says why decisions could not be read", async () => {
    const { report, serve, b } = await opened({
      task: "detection",
      detection: { scores: "nothing", boxes: "boxes" },
    });
    await b.load();
    for (let i = 0; i < 20; i += 1) await serve(i);
    const live = reportSchema.parse(JSON.parse(await report("m", "json")));
    const reason = /"nothing"/;
    expect(live.pairs).toMatchObject([
      { samples: 20, decided: 0, undecidedReason: expect.stringMatching(reason) },
    ]);
    const verdict = live.engines[1]?.verdicts.find(({ rule }) => rule === "flipRatio");
    expect(verdict).toMatchObject({ verdict: "inconclusive", need: null });
    expect(verdict?.reason).toMatch(/^none of 20 decisions could be read: .*"nothing"/);
    expect(await report("m", "md")).toMatch(/Decisions that could not be read[^]*nothing/);
  });
});

function made(engines: readonly ReportEngine[]): Report {
  return reportSchema.parse({
    schema: 1,
    kind: "offline",
    generatedAt: "2026-01-01T00:00:00.000Z",
    crosscheckVersion: "test",
    verdict: "pass",
    verdictReason: "",
    model: {
      name: "m",
      task: "classification",
      sourceSha256: [],
      inputs: [],
      outputs: [],
      reference: null,
      active: null,
      deadlineSeconds: null,
      work: null,
    },
    dataset: null,
    run: null,
    platform: {
      operatingSystem: "x",
      architecture: "x",
      processor: "x",
      cores: 1,
      memoryBytes: 1,
      governor: null,
      node: "20",
      gpus: [],
    },
    engines,
    pairs: [],
    builds: [],
    rebuilds: [],
    worstInputs: [],
    ranking: null,
    notApplicable: [],
    limits: [],
  });
}

function engine(
  id: string,
  compiler: string,
  change: { p99?: number; verdict?: "pass" | "fail"; error?: string; failures?: number } = {},
): ReportEngine {
  const { p99 = 0.01, verdict = "pass", error = null, failures = 0 } = change;
  const timing = timingOfSeries([p99], null);
  return {
    id,
    role: "candidate",
    compiler,
    compilerVersion: "1",
    runtime: null,
    precision: "fp32",
    target: null,
    device: "cpu",
    threads: 1,
    options: {},
    seed: null,
    artifactSha256: createHash("sha256").update(id).digest("hex"),
    artifactBytes: null,
    fingerprint: id,
    buildSeconds: 1,
    builtAt: "2026-01-01",
    verdict,
    verdicts: [],
    error,
    failures,
    residentBytes: null,
    ...timing,
    latency: { ...timing.latency, p99Seconds: p99 },
    speedTest: null,
    accuracy: { clean: null, corrupted: null },
    labelled: [],
    realTime: null,
    cpu: null,
    streams: null,
    selfChecks: [],
    replay: { command: null, note: null },
  };
}
