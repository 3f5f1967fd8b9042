import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { openDecisionLog } from "../../src/audit/log/decision-log.ts";
import { main } from "../../src/cli/main.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { openStore } from "../../src/store/open-store.ts";
import { captureOutput } from "./_output.ts";
import { RedisServer, redisMissing } from "../store/_redis-server.ts";

let path: string;
const said = captureOutput();
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "crosscheck-log-verify-"));
});
afterEach(async () => {
  await rm(path, { recursive: true, force: true });
});

async function verify(...args: readonly string[]): Promise<number> {
  said.out = said.err = "";
  process.exitCode = 0;
  await main(["log", "verify", ...args]);
  return process.exitCode;
}

/** What a gateway leaves behind after 5 switches. */
async function leave(store: { kind: "file" | "redis"; url?: string }): Promise<void> {
  const opened = await openStore({ ...store, path }, silentLog);
  const decisions = await openDecisionLog({
    directory: join(path, "log"),
    repository: "/r",
    clock: systemClock,
  });
  for (let i = 0; i < 5; i++)
    await decisions.append({
      type: "switch",
      model: "m",
      from: "a",
      to: `b${i}`,
      trigger: "manual",
      actor: "t",
      reason: "r",
    });
  opened.deliver(decisions);
  await opened.write("0123456789abcdef/m", { active: "b4", decision: 5 });
  // Evidence says nothing of decisions.
  await opened.write("0123456789abcdef/evidence/e", { decision: 99 });
  if (store.kind === "redis") await new Promise((resolve) => setTimeout(resolve, 500));
  await decisions.close();
  await opened.close();
}

async function cut(): Promise<void> {
  const file = join(path, "log", "decisions-000001.jsonl");
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  await writeFile(file, `${lines.slice(0, 3).join("\n")}\n`);
}

describe("crosscheck log verify", () => {
  test("finds a cut-off end, an emptied folder and a folder that is gone", async () => {
    await leave({ kind: "file" });
    expect(await verify("--store", path)).toBe(0);
    expect(said.out).toMatch(/5 decisions in 1 file\(s\): the chain is whole; last hash [0-9a-f]{64}/);
    await cut();
    expect(await verify("--store", path)).toBe(1);
    expect(said.out).toMatch(/ends with seq 3, but state file ".*m.json" knows of 5/);
    for (const file of await readdir(join(path, "log"))) await rm(join(path, "log", file));
    expect(await verify("--store", path)).toBe(1);
    await rm(join(path, "log"), { recursive: true });
    expect(await verify("--store", path)).toBe(1);
    expect(said.out).toMatch(/ends with seq 0/);
  });

  test("looks where the settings say: flag over environment over file", async () => {
    await leave({ kind: "file" });
    const config = join(path, "crosscheck.yaml");
    await writeFile(config, `store: { path: ${JSON.stringify(path)} }\n`);
    expect(await verify("--config", config)).toBe(0);
    vi.stubEnv("CROSSCHECK_STORE_PATH", "/nowhere");
    expect(await verify("--config", config)).toBe(2);
    expect(said.err).toMatch(/no decision log in "\/nowhere"/);
    vi.stubEnv("CROSSCHECK_STORE_PATH", path);
    expect(await verify()).toBe(0);
    vi.stubEnv("CROSSCHECK_STORE_PATH", "/nowhere");
    expect(await verify("--store", path)).toBe(0);
  });

  test("its help says what a chain without a key cannot show", async () => {
    await verify("--help");
    expect(said.out.replaceAll(/\s+/g, " ")).toMatch(
      /has no key.*seal a changed log anew.*Keep the last hash/,
    );
  });

  describe.skipIf(redisMissing)("with Redis", () => {
    const server = new RedisServer();
    beforeAll(async () => {
      await server.prepare();
      await server.start();
    });
    afterAll(() => server.kill());

    test("compares with what was delivered; says so when it cannot", async () => {
      await leave({ kind: "redis", url: server.url });
      vi.stubEnv("CROSSCHECK_STORE_KIND", "redis");
      vi.stubEnv("CROSSCHECK_STORE_URL", server.url);
      vi.stubEnv("CROSSCHECK_STORE_PATH", path);
      expect(await verify()).toBe(0);
      await rm(join(path, "state"), { recursive: true });
      await cut();
      expect(await verify()).toBe(1);
      expect(said.out).toMatch(/ends with seq 3, but Redis stream ".*:decisions" knows of 5/);
      await rm(join(path, "log"), { recursive: true });
      await leave({ kind: "file" });
      expect(await verify()).toBe(1);
      expect(said.out).toMatch(/decision 5 is another one in Redis stream/);
      await server.kill();
      expect(await verify()).toBe(0);
      expect(said.out).toMatch(/the chain is whole.*\nRedis at 127.0.0.1:\d+ was not asked: .*ECONNREFUSED/);
    });
  });
});
