import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadConfig, misspelledVariables } from "../src/config.ts";

async function faultsOf(
  text: string,
  environment: Record<string, string> = {},
  flags: Record<string, unknown> = {},
): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "crosscheck-config-")), "crosscheck.yaml");
  await writeFile(file, text);
  const error = await loadConfig({ file, environment, flags }).catch((thrown: unknown) => thrown as Error);
  return error instanceof Error ? error.message.replaceAll(file, "FILE") : "";
}

it("names line, variable or flag of a faulty setting", async () => {
  const text = "host: 127.0.0.1\nport: 70000\nlimits:\n  queue: -1\nhsot: x\n";
  expect((await faultsOf(text)).split("\n")).toEqual([
    expect.stringMatching(/^FILE:2: port: 70000 is too large/),
    expect.stringMatching(/^FILE:4: limits\.queue: -1 is too small/),
    expect.stringMatching(/^FILE:5: unknown key "hsot"; did you mean "host"\?/),
  ]);
  expect(await faultsOf("port: 8000\n", { CROSSCHECK_PORT: "70000" })).toMatch(
    /^CROSSCHECK_PORT: port: 70000/,
  );
  expect(await faultsOf("port: 8000\n", {}, { port: 70_000 })).toMatch(/^--port: port: 70000/);
  expect(await faultsOf("port: 8000\n")).toBe("");
});

it("finds variables that are nearly a setting's", () => {
  const near = { CROSSCHECK_PROT: "1", CROSSCHECK_LIMITS_BODYBYTES: "1" };
  const others = {
    CROSSCHECK_PORT: "1",
    CROSSCHECK_URL: "x",
    CROSSCHECK_API_KEY: "x",
    CROSSCHECK_CONFIG: "x",
    CROSSCHECK_TVM_PYTHON: "x",
    PORT: "1",
  };
  expect(misspelledVariables({ ...near, ...others })).toEqual([
    { variable: "CROSSCHECK_PROT", meant: "CROSSCHECK_PORT" },
    { variable: "CROSSCHECK_LIMITS_BODYBYTES", meant: "CROSSCHECK_LIMITS_BODY_BYTES" },
  ]);
});
