import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLog } from "../../src/log.ts";
import { newFolder, openScene, writeModel } from "../gateway/_gateway.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "crosscheck-log-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

function linesOf(text: string): Line[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);
}

describe("the log", () => {
  test("keeps to its level and blanks fields that hold secrets, however deep", async () => {
    const path = join(folder, "log");
    const fd = openSync(path, "w");
    const log = createLog({ level: "warn", fd });
    log.info({}, "quiet");
    log.warn({ authorization: "Bearer hunter2" }, "one");
    log.error({ headers: { cookie: "hunter2" }, request: { headers: { authorization: "hunter2" } } }, "two");
    await expect
      .poll(() => linesOf(readFileSync(path, "utf8")).map(({ msg }) => msg))
      .toEqual(["one", "two"]);
    expect(readFileSync(path, "utf8")).not.toContain("hunter2");
    closeSync(fd);
  });

  test("names the request when its host is lost and it moves", async () => {
    const path = join(folder, "log");
    const fd = openSync(path, "w");
    const place = await newFolder();
    await writeModel(place, "m", { a: { fault: "crash", rate: 0.4 }, b: {} });
    const scene = await openScene(place, {}, createLog({ level: "info", fd }));
    try {
      const moved = () => linesOf(readFileSync(path, "utf8")).find(({ msg }) => msg === "request moved");
      // The input that costs one host costs the next one too, and its request with it.
      for (let count = 0; !moved() && count < 40; count++)
        await scene.infer("m", { id: `r${count}` }).catch(() => {});
      expect(moved()).toMatchObject({ id: expect.stringMatching(/^r\d/), model: "m", from: "a" });
    } finally {
      await scene.end();
      closeSync(fd);
    }
  });
});

describe("crosscheck serve", () => {
  let child: ChildProcess | undefined;
  let stderr: string;
  afterEach(() => void child?.kill("SIGKILL"));

  /** A gateway of its own with an empty repository and a key; resolves with its address. */
  async function serve(settings: Record<string, string>): Promise<string> {
    await mkdir(join(folder, "models"));
    const keys = join(folder, "keys.yaml");
    await writeFile(keys, JSON.stringify({ keys: [{ name: "test", key: secret, roles: ["infer"] }] }));
    const program = fileURLToPath(new URL("programs/serve.ts", import.meta.url));
    child = spawn(process.execPath, ["--import", "tsx", program, "--port", "0"], {
      env: {
        ...process.env,
        CROSSCHECK_REPOSITORY: join(folder, "models"),
        CROSSCHECK_STORE_PATH: join(folder, "var"),
        CROSSCHECK_ACCESS_KEYS_FILE: keys,
        ...settings,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    stderr = "";
    let stdout = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    await expect.poll(() => `${stdout}${stderr}`, { timeout: 60_000 }).toContain("Ready after");
    return /http:\/\/[^ ;]+/.exec(stdout)?.[0] ?? "";
  }

  async function stop(): Promise<number | null> {
    child?.kill("SIGTERM");
    const [code] = (await once(child as ChildProcess, "close")) as [number | null];
    return code;
  }

  const ask = (url: string) =>
    fetch(`${url}/v2/models/nowhere/infer`, {
      method: "POST",
      headers: { "x-request-id": "r7", authorization: `Bearer ${secret}` },
      body: '{"id":"r7"}',
    });

  test("one line a request when asked for; SIGTERM loses none and leaves no secret", async () => {
    const url = await serve({ CROSSCHECK_LOG_REQUESTS: "true" });
    for (let count = 0; count < 20; count++) expect((await ask(url)).status).toBe(404);
    expect(await stop()).toBe(0);
    const lines = linesOf(stderr);
    const requests = lines.filter(({ msg }) => msg === "request");
    expect(requests).toHaveLength(20);
    expect(requests[0]).toMatchObject({ model: "nowhere", status: 404, seconds: expect.any(Number) });
    expect(lines.at(-1)?.msg ?? "").not.toBe("");
    expect(lines.some(({ msg, signal }) => msg.startsWith("stopping") && signal === "SIGTERM")).toBe(true);
    expect(stderr).not.toContain(secret);
  });

  test("without being asked, no line a request", async () => {
    const url = await serve({ CROSSCHECK_LOG_LEVEL: "debug" });
    await ask(url);
    expect(await stop()).toBe(0);
    expect(linesOf(stderr).filter(({ msg }) => msg === "request")).toEqual([]);
    expect(stderr).not.toContain(secret);
  });
});

test("a request's line has id, model, engine, status and seconds", async () => {
  const { listen } = await import("../../src/http/listen.ts");
  const path = join(folder, "log");
  const fd = openSync(path, "w");
  const log = createLog({ level: "info", fd });
  const place = await newFolder();
  await writeModel(place, "m", { a: {} });
  const scene = await openScene(place, { log: { requests: true } }, log);
  const config = { host: "127.0.0.1", port: 0, access: {}, limits: { bodyBytes: 1_000_000 } };
  const server = await listen(scene.services, { config, version: "test", log });
  try {
    const body = JSON.stringify({
      id: "r1",
      inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
    });
    await fetch(`${server.url}/v2/models/m/infer`, { method: "POST", body });
    await expect
      .poll(() => linesOf(readFileSync(path, "utf8")).find(({ msg }) => msg === "request"))
      .toMatchObject({ id: "r1", model: "m", engine: "a", status: 200, seconds: expect.any(Number) });
  } finally {
    await server.close({ drainMs: 0 });
    await scene.end();
    closeSync(fd);
  }
});

const secret = "hunter2-hunter2-hunter2";
