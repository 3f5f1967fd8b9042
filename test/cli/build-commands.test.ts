import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createBuildProgress, progressLine, shortSeconds } from "../../src/cli/build-progress.ts";
import { checkWords, registerCompile } from "../../src/cli/compile.ts";
import { registerLottery } from "../../src/cli/lottery.ts";
import { table } from "../../src/cli/table.ts";
import { share } from "../../src/cli/words.ts";
import { packageRoot } from "../../src/core/package-root.ts";

const demo = join(packageRoot(), "models/traffic-signs/model.onnx");

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = 0;
});

/** Runs a command in this process. */
async function run(
  register: (program: Command) => void,
  ...args: string[]
): Promise<{ stdout: string; stderr: string }> {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    });
  }
  const program = new Command("crosscheck").exitOverride();
  register(program);
  try {
    await program.parseAsync(args, { from: "user" });
  } finally {
    vi.restoreAllMocks();
  }
  return written;
}

describe("crosscheck compile", () => {
  it("builds, checks and names the engines on standard output", async () => {
    const repository = await mkdtemp(join(tmpdir(), "crosscheck-cli-"));
    const flags = [
      "--model",
      "signs",
      "--compiler",
      "onnxruntime",
      "--repository",
      repository,
      "--builds",
      "2",
    ];
    const { stdout, stderr } = await run(registerCompile, "compile", demo, ...flags);
    expect(stdout).toBe("onnxruntime-1\nonnxruntime-2\n");
    expect(stderr).toContain("onnxruntime-2: build 2 of 2");
    expect(stderr).toMatch(
      /onnxruntime-1: against ONNX Runtime without optimisations on 32 inputs \(generated\): .* bit-equal/,
    );
    expect(stderr).toContain(`onnxruntime-2: in ${join(repository, "signs/engines/onnxruntime-2")}`);

    const lottery = ["--repository", repository, "--runs", "20", "--json"];
    const report = JSON.parse((await run(registerLottery, "lottery", "signs", ...lottery)).stdout) as {
      lotteries: { builds: object[]; replay: null; replayNote: string }[];
    };
    expect(report.lotteries).toHaveLength(1);
    expect(report.lotteries[0]).toMatchObject({
      compiler: "onnxruntime",
      runs: 20,
      distinctFunctions: 1,
      replay: null,
      replayNote: expect.stringContaining("keep the artifact itself"),
    });
    expect(report.lotteries[0]?.builds[0]).toMatchObject({ id: "onnxruntime-1", p99UpperBoundSeconds: null });

    const none = await run(
      registerLottery,
      "lottery",
      "signs",
      "--repository",
      repository,
      "--compiler",
      "autotvm",
    );
    expect(process.exitCode).toBe(3);
    expect(none.stderr).toMatch(
      /model "signs" has no engines of autotvm; make builds with: npx crosscheck compile/,
    );
  });
});

describe("crosscheck lottery", () => {
  it("tells a fault of model.yaml or engine.yaml instead of leaving the engine out", async () => {
    const repository = await mkdtemp(join(tmpdir(), "crosscheck-cli-"));
    const model = join(repository, "m");
    await mkdir(join(model, "engines/a-1"), { recursive: true });
    await writeFile(join(model, "model.yaml"), "name: m\n");
    await writeFile(join(model, "engines/a-1/engine.yaml"), "schema: 2\n");
    const lottery = () => run(registerLottery, "lottery", "m", "--repository", repository);
    await expect(lottery()).rejects.toThrow(/engine "a-1" of model "m": .*engine\.yaml:1: schema/);
    await writeFile(join(model, "model.yaml"), "name: m\ntsak: tensor\n");
    await expect(lottery()).rejects.toThrow(/model\.yaml:2: unknown key "tsak"; did you mean "task"/);
  });
});

describe("what is shown", () => {
  it("words progress, leaving out what is not known", () => {
    expect(
      progressLine("autotvm-2", {
        type: "progress",
        phase: "tuning",
        task: 3,
        tasks: 5,
        trial: 17,
        trials: 64,
        bestSeconds: 2.1e-4,
        secondsLeft: 80,
        message: "conv2d",
      }),
    ).toBe("autotvm-2: tuning, task 3 of 5, trial 17 of 64, best 210 us, 1 min 20 s left: conv2d");
    expect(progressLine("a-1", { type: "progress", phase: "importing" })).toBe("a-1: importing");
    expect(progressLine("a-1", { type: "progress", phase: "p", secondsLeft: 7300 })).toBe(
      "a-1: p, 2 h 1 min left",
    );
    expect([2.5e-6, 2.1e-4, 3.2e-3, 0.0321, 1.5].map(shortSeconds)).toEqual([
      "2.5 us",
      "210 us",
      "3.20 ms",
      "32.1 ms",
      "1.50 s",
    ]);
  });

  it("writes a line every few seconds without a terminal, and one live line on it", () => {
    let now = 0;
    let text = "";
    const write = (more: string): void => void (text += more);
    const quiet = createBuildProgress({ write }, () => now);
    for (; now < 12; now += 1) quiet.show("a-1", { type: "progress", phase: "tuning", trial: now });
    quiet.show("a-1", { type: "progress", phase: "building" });
    quiet.print("done");
    expect(text).toBe(
      "a-1: tuning, trial 0\na-1: tuning, trial 5\na-1: tuning, trial 10\na-1: building\ndone\n",
    );
    text = "";
    const live = createBuildProgress({ write, isTTY: true, columns: 11 }, () => now);
    live.show("a-1", { type: "progress", phase: "tuning" });
    live.print("done");
    expect(text).toBe("\r\u001b[2Ka-1: tunin\r\u001b[2Kdone\n");
  });

  it("words a check", () => {
    const check = {
      reference: "onnxruntime-1",
      inputs: "samples" as const,
      samples: 32,
      bitEqual: 1,
      diverged: 0,
      invalid: 0,
      flips: 0,
      undecided: 0,
      maxAbs: 4.2e-6,
      reason: "",
      undecidedReason: "",
    };
    expect(checkWords(check)).toBe(
      "against onnxruntime-1 on 32 inputs (of the model's own): 3.1 % bit-equal, largest difference 4.2e-6, no changed decision",
    );
    expect(checkWords({ ...check, flips: 2, diverged: 3, reason: "scores" })).toContain(
      "2 changed decisions, 3 outside the tolerance (scores)",
    );
    expect(checkWords({ ...check, undecided: 32, undecidedReason: "no scores" })).toMatch(
      /4\.2e-6, decisions not read on 32 inputs \(no scores\)$/,
    );
    expect(checkWords({ ...check, undecided: 2, undecidedReason: "no scores" })).toMatch(
      /no changed decision, decisions not read on 2 inputs \(no scores\)$/,
    );
    expect([share(0, 3), share(3, 3), share(9999, 10000), share(1, 100000)]).toEqual([
      "0 %",
      "100 %",
      "99.9 %",
      "0.1 %",
    ]);
  });

  it("sets columns", () => {
    expect(
      table([
        ["a", "size"],
        ["bcd", "1"],
        ["e", "20"],
      ]),
    ).toBe("a    size\nbcd     1\ne      20");
  });
});
