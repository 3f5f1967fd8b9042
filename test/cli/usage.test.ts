import { describe, expect, test, vi } from "vitest";
import { main } from "../../src/cli/main.ts";
import { captureOutput } from "./_output.ts";

const demo = "models/traffic-signs/model.onnx";
const said = captureOutput();

async function run(...args: readonly string[]): Promise<number> {
  process.exitCode = 0;
  await main(args);
  return process.exitCode;
}

const commands = [
  "serve",
  "compile",
  "lottery",
  "audit",
  "status",
  "engines",
  "switch",
  "rollback",
  "log",
  "log verify",
  "doctor",
  "bench",
  "host-check",
  "setup",
];

describe("command line", () => {
  test.each(commands)("%s --help explains it and exits 0", async (command) => {
    expect(await run(...command.split(" "), "--help")).toBe(0);
    expect(said.out).toContain(`Usage: crosscheck ${command}`);
    expect(said.err).toBe("");
  });

  test("the help lists every command", async () => {
    expect(await run("--help")).toBe(0);
    for (const command of commands) expect(said.out).toContain(command.split(" ")[0]);
  });

  test.each(commands)("%s refuses an option that it does not have: usage, 2", async (command) => {
    expect(await run(...command.split(" "), "--no-such-option")).toBe(2);
    expect(said.err).toMatch(/error: /);
  });

  test.each<[string, RegExp]>([
    ["sreve", /unknown command 'sreve'.*\(Did you mean serve\?\)/s],
    ["serve --port eighty", /'--port <number>'.*'eighty'.*0 to 65535/s],
    ["serve --port 70000", /0 to 65535/],
    ["compile", /missing required argument|required option/],
    ["compile model.onnx --model m", /--compiler/],
    ["lottery", /missing required argument/],
    ["audit m", /--out/],
    ["engines", /missing required argument 'model'/],
    ["switch m --reason r", /missing required argument 'engine'/],
    ["switch m e", /--reason/],
    ["rollback m", /--reason/],
    ["status --url nowhere", /"nowhere" is no address/],
    ["bench nowhere --model m", /"nowhere" is no address/],
    ["bench http://127.0.0.1:1", /--model/],
    ["bench http://127.0.0.1:1 --model m --rate 0", /above 0/],
    ["bench http://127.0.0.1:1 --model m --rate 1 --concurrency 1", /not both/],
    ["bench http://127.0.0.1:1 --model m --encoding xml", /binary or json/],
    ["host-check", /name a host program/],
    ["bench http://127.0.0.1:1 --model m --concurrency 1.5", /whole number/],
    ["bench http://127.0.0.1:1 --model m --rate 0.05 --seconds 1", /sends no request/],
    ["audit m --out o --seed -1", /0 to 4294967295/],
    ["audit m --out o --seed 4294967296", /0 to 4294967295/],
    ["setup autotv", /^crosscheck: compiler "autotv".*did you mean "autotvm"/],
    ["doctor autotv", /did you mean "autotvm"/],
    ["host-check --engine /nowhere", /nowhere\/engine\.yaml: there is no such file/],
    ["serve --repository /nowhere", /repository "\/nowhere" does not exist.*--repository/s],
    ["serve --host 0.0.0.0", /0\.0\.0\.0.*keysFile/s],
    ["serve --config /nowhere.yaml", /nowhere\.yaml/],
    ["lottery m --repository /nowhere", /"\/nowhere" does not exist/],
    ["lottery traffic-sings --repository models", /did you mean "traffic-signs"\? known: traffic-signs/],
    ["lottery traffic-signs --repository models --compiler autotv", /did you mean "autotvm"/],
    [
      "lottery traffic-signs --repository models --inputs /nowhere.npz",
      /--inputs \/nowhere\.npz: there is no/,
    ],
    ["log verify --store /nowhere", /no decision log in "\/nowhere".*--store/s],
    [
      "compile /nowhere.onnx --model m --compiler autotvm --repository models",
      /^crosscheck: \/nowhere\.onnx: there is no such file/,
    ],
    ["compile README.md --model m --compiler autotvm --repository models", /is not an ONNX model/],
    [`compile ${demo} --model .. --compiler onnxruntime --repository models`, /--model: .*must not be dots/],
    [
      `compile ${demo} --model traffic-signs --compiler onnxruntime --repository models --replay /nowhere`,
      /--replay \/nowhere: there is no such file/,
    ],
    [
      `compile ${demo} --model traffic-signs --compiler onnxruntime --repository models --inputs /nowhere.npz`,
      /--inputs \/nowhere\.npz: there is no such file/,
    ],
    [`compile ${demo} --model m --compiler onnxruntim`, /^crosscheck: .*did you mean "onnxruntime"\?/],
    [`compile ${demo} --model m --compiler onnxruntime --precision fp16`, /does not build precision "fp16"/],
    [`compile ${demo} --model m --compiler onnxruntime --option level=all`, /has no option "level"/],
    [`compile ${demo} --model m --compiler onnxruntime --builds 0`, /whole number from 1 to 10000/],
  ])("%s: usage, 2", async (line, message) => {
    expect(await run(...line.split(" "))).toBe(2);
    expect(said.err).toMatch(message);
  });

  test("an empty reason is none", async () => {
    expect(await run("switch", "m", "e", "--reason", " ")).toBe(2);
    expect(said.err).toMatch(/Say why/);
  });

  test("the help has no defaults that say nothing, and names the key", async () => {
    await run("compile", "--help");
    await run("bench", "--help");
    expect(said.out).not.toContain("default: []");
    expect(said.out).toContain("CROSSCHECK_API_KEY");
  });

  test("doctor tells a compiler's options", async () => {
    expect(await run("doctor", "onnxruntime")).toBe(0);
    expect(said.out).toMatch(/precisions: fp32, int8\n.*graphOptimizationLevel +disabled \| basic .* all /s);
  });

  test("a wrong address in the environment is told too", async () => {
    vi.stubEnv("CROSSCHECK_URL", "nowhere");
    expect(await run("status")).toBe(2);
    expect(said.err).toMatch(/"nowhere" is no address/);
  });

  test.each<[string, RegExp]>([
    ["status --url http://127.0.0.1:1", /no gateway answers at http:\/\/127\.0\.0\.1:1.*crosscheck serve/s],
    ["bench http://127.0.0.1:1 --model m", /no server answers at http:\/\/127\.0\.0\.1:1.*crosscheck serve/s],
  ])("%s: failed, 1", async (line, message) => {
    expect(await run(...line.split(" "))).toBe(1);
    expect(said.err).toMatch(message);
  });
});
