import path from "node:path";
import { describe, expect, test } from "vitest";
import { silentLog } from "../../src/core/log.ts";
import { runConformance } from "../../src/hosting/conformance.ts";
import { hostEnv, hosts, textArtifact } from "./_pool.ts";

const tensors = [
  { name: "a", datatype: "FP32", shape: [2, 3] },
  { name: "b", datatype: "INT64", shape: [-1] },
];

function options() {
  return {
    workingDirectory: path.resolve(import.meta.dirname, "../.."),
    env: hostEnv(),
    threads: 1,
    log: silentLog,
    timeoutSeconds: 30,
  };
}

describe.each(["typescript", "python"] as const)("the %s host library", (host) => {
  test("keeps to the protocol, with an engine", { timeout: 240_000 }, async () => {
    const engine = { artifact: textArtifact("an engine"), manifest: { tensors }, directory: "/" };
    const { checks } = await runConformance(hosts[host], { ...options(), engine });
    expect(checks.filter(({ passed }) => !passed)).toEqual([]);
    expect(checks.length).toBeGreaterThan(30);
  });

  test("keeps to the protocol, without an engine", async () => {
    const { checks } = await runConformance(hosts[host], options());
    expect(checks.filter(({ passed }) => !passed)).toEqual([]);
  });
});

test("finds out a program that does not", async () => {
  const { checks } = await runConformance(hosts.rogue, { ...options(), timeoutSeconds: 2 });
  const failed = checks.filter(({ passed }) => !passed).map(({ name }) => name);
  expect(failed).toContain("exits with 70 on a wrong magic");
  expect(failed).not.toContain("answers PING before LOAD, with JSON");
});

test("says why a program that cannot be started fails", async () => {
  const { checks } = await runConformance(["/does/not/exist"], options());
  expect(checks.every(({ passed, detail }) => !passed && /exist|127|started/.test(detail))).toBe(true);
});
