import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readFamilies } from "../../src/building/families.ts";
import { checkPrecision, readOptions } from "../../src/building/options.ts";
import { packageRoot } from "../../src/core/package-root.ts";

const good = `
family: toy
description: A toy
python: { setting: CROSSCHECK_TOY_PYTHON, default: .venv/bin/python }
compilers:
  toy:
    precisions: [fp32, int8]
    options:
      trials: { type: integer, default: 64, min: 1, max: 100, description: how many }
      tuner: { type: string, default: random, values: [random, ga], description: which }
      target: { type: string, description: for which machine }
      fast: { type: boolean, default: false, description: hurry }
      ratio: { type: number, default: 0.5, min: 0, description: share }
  toy-other:
    python: { setting: CROSSCHECK_OTHER_PYTHON, default: python3 }
    host: ["./other-host", "{dist}/host.js"]
    env: { B: "2" }
probe: ["{python}", "probe.py"]
compile: ["{node}", "{family}/compile.mjs"]
host: ["{python}", "host.py"]
env: { A: "{family}/lib:{env:SEARCH}", B: "1" }
`;

async function rootWith(families: Record<string, string>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "crosscheck-families-"));
  for (const [name, text] of Object.entries(families)) {
    await mkdir(join(root, "engines", name), { recursive: true });
    if (text !== "") await writeFile(join(root, "engines", name, "family.yaml"), text);
  }
  return root;
}

describe("readFamilies", () => {
  it("resolves commands, placeholders and environment, each compiler with its own", async () => {
    const root = await rootWith({ toy: good, python: "" });
    const families = await readFamilies({
      root,
      environment: { PATH: "/bin", SEARCH: "/x", CROSSCHECK_API_KEY: "k" },
    });
    const directory = join(root, "engines", "toy");
    expect(families.problems).toEqual([]);
    const toy = families.compiler("toy");
    expect(toy.host).toEqual({
      file: join(directory, ".venv/bin/python"),
      args: ["host.py"],
      cwd: directory,
      env: {
        PATH: "/bin",
        SEARCH: "/x",
        PYTHONPATH: join(root, "engines/python"),
        A: `${directory}/lib:/x`,
        B: "1",
      },
    });
    expect(toy.compile).toMatchObject({ file: process.execPath, args: [join(directory, "compile.mjs")] });
    expect(toy).toMatchObject({ setup: undefined, calibrated: ["int8"], description: "A toy" });
    const other = families.hostCommand("toy-other");
    expect(other).toMatchObject({
      file: join(directory, "other-host"),
      args: [join(root, "dist/engines/toy/host.js")],
    });
    expect(other.env["B"]).toBe("2");
    expect(families.compiler("toy-other").probe.file).toBe("python3");
  });

  it("takes a Python from its setting", async () => {
    const root = await rootWith({ toy: good });
    const families = await readFamilies({ root, environment: { CROSSCHECK_TOY_PYTHON: "/opt/python" } });
    expect(families.compiler("toy").host.file).toBe("/opt/python");
  });

  it("keeps a broken family from costing the others", async () => {
    const root = await rootWith({
      toy: good,
      typo: good.replace("family: toy", "family: typo").replace("probe:", "prob:"),
      wrong: good,
      twin: good.replace("family: toy", "family: twin"),
      unknown: good
        .replace("family: toy", "family: unknown")
        .replaceAll("toy", "un")
        .replace("{family}/lib", "{home}"),
      default: good
        .replace("family: toy", "family: default")
        .replaceAll("toy", "de")
        .replace("default: 64", "default: many"),
    });
    const families = await readFamilies({ root, environment: {} });
    expect(families.compilers.map((compiler) => compiler.name)).toEqual(["toy", "toy-other"]);
    const errors = Object.fromEntries(families.problems.map(({ family, error }) => [family, error]));
    expect(errors["typo"]).toContain('unknown key "prob"; did you mean "probe"?');
    expect(errors["wrong"]).toContain("make it equal to the folder's name");
    expect(errors["twin"]).toContain('compiler "toy" is offered by "toy" too');
    expect(errors["unknown"]).toContain("unknown placeholder {home}");
    expect(errors["default"]).toContain("default many of option trials is no integer");
    expect(() => families.compiler("autotvn")).toThrow('compiler "autotvn" is not offered by any family');
    expect(() => families.compiler("toi")).toThrow('did you mean "toy"?');
  });

  it("reads every family of this project without a problem", async () => {
    const families = await readFamilies({ root: packageRoot(), environment: { PATH: process.env["PATH"] } });
    expect(families.problems).toEqual([]);
    expect(families.compilers.map((compiler) => compiler.name)).toContain("onnxruntime");
  });
});

describe("readOptions", async () => {
  const families = await readFamilies({ root: await rootWith({ toy: good }), environment: {} });
  const toy = families.compiler("toy");

  it("fills in defaults and reads each type", () => {
    expect(readOptions(toy, [])).toEqual({
      trials: 64,
      tuner: "random",
      target: null,
      fast: false,
      ratio: 0.5,
    });
    expect(readOptions(toy, ["trials=8", "fast=true", "target=llvm -mcpu=x=y", "ratio=1e-3"])).toEqual({
      trials: 8,
      tuner: "random",
      target: "llvm -mcpu=x=y",
      fast: true,
      ratio: 0.001,
    });
  });

  it.each([
    ["trial=8", 'has no option "trial"; did you mean "trials"?'],
    ["constructor=8", 'has no option "constructor"; known: trials'],
    ["trials", 'option "trials" is not of the form key=value'],
    ["trials=0", 'option trials=0 of compiler "toy" must be a whole number from 1 to 100'],
    ["trials=1.5", "must be a whole number"],
    ["trials=", "must be a whole number"],
    ["ratio=-1", "must be a number of at least 0"],
    ["tuner=xgb", "must be one of random, ga"],
    ["fast=1", "must be true or false"],
  ])("refuses %s", (text, message) => {
    expect(() => readOptions(toy, [text])).toThrow(message);
  });

  it("refuses a precision that is not built", () => {
    expect(() => checkPrecision(toy, "fp16")).toThrow(
      'does not build precision "fp16"; it builds fp32, int8',
    );
  });
});
