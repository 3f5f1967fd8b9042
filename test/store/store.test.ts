import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { silentLog } from "../../src/core/log.ts";
import { openFileStore } from "../../src/store/file-store.ts";
import { openRedisStore } from "../../src/store/redis-store.ts";
import type { Store } from "../../src/store/store.ts";
import { RedisServer, redisMissing } from "./_redis-server.ts";

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "crosscheck-store-"));
});
afterEach(async () => {
  await rm(path, { recursive: true, force: true });
});

const server = new RedisServer();
beforeAll(async () => {
  if (redisMissing !== undefined) return;
  await server.prepare();
  await server.start();
});
afterAll(() => server.kill());

const drivers: [string, string | undefined, (path: string) => Promise<Store>][] = [
  ["file", undefined, (folder) => openFileStore({ path: folder })],
  ["redis", redisMissing, (folder) => openRedisStore({ url: server.url, path: folder, log: silentLog })],
];

describe.each(drivers)("store %s", (_, missing, open) => {
  test.skipIf(missing)("gives back what was written, also after it was opened again", async () => {
    const store = await open(path);
    expect(await store.read("repo/model")).toBeUndefined();
    await store.write("repo/model", { active: "a", n: 1 });
    await store.write("repo/model", { active: "b", n: 2 });
    expect(await store.read("repo/model")).toEqual({ active: "b", n: 2 });
    await store.close();
    const again = await open(path);
    expect(await again.read("repo/model")).toEqual({ active: "b", n: 2 });
    await again.close();
  });

  test.skipIf(missing)("what cannot be written is told, with the remedy, until something can", async () => {
    const store = await open(path);
    const inTheWay = join(path, "state/k.json.new");
    await mkdir(inTheWay);
    await expect(store.write("k", {})).rejects.toThrow(/cannot be written/);
    expect(store.trouble).toMatch(/state cannot be written to .*EISDIR.*free disk space/);
    await rmdir(inTheWay);
    await store.write("k", {});
    expect(store.trouble).toBeUndefined();
    await store.close();
  });

  test.skipIf(missing)("what one document can does not hide what another cannot", async () => {
    const store = await open(path);
    const blocked = ["a", "b"].map((key) => join(path, `state/${key}.json.new`));
    for (const inTheWay of blocked) await mkdir(inTheWay);
    for (const key of ["a", "b"]) await expect(store.write(key, {})).rejects.toThrow(/cannot be written/);
    await store.write("c", {});
    expect(store.trouble).toMatch(/a\.json.*EISDIR.*; also 1 other document/);
    for (const inTheWay of blocked) await rmdir(inTheWay);
    await store.write("a", {});
    expect(store.trouble).toMatch(/b\.json.*EISDIR.*store\.path$/);
    await store.write("b", {});
    expect(store.trouble).toBeUndefined();
    await store.close();
  });

  test.skipIf(missing)("what nobody writes any more is forgotten when the disk is well", async () => {
    const store = await open(path);
    await mkdir(join(path, "state/gone.json.new"));
    await expect(store.write("gone", {})).rejects.toThrow(/cannot be written/);
    await store.write("kept", {});
    expect(store.trouble).toMatch(/gone\.json/);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 16 * 60_000 });
    await store.write("kept", {});
    vi.useRealTimers();
    expect(store.trouble).toBeUndefined();
    await store.close();
  });

  test.skipIf(missing)("a folder that cannot be made is told with the remedy too", async () => {
    const store = await open(path);
    await writeFile(join(path, "state/repo"), "");
    await expect(store.write("repo/model", {})).rejects.toThrow(/cannot be written.*free disk space/);
    await store.close();
  });

  test.skipIf(missing)("keeps the last of many writes at once", async () => {
    const store = await open(path);
    await Promise.all(Array.from({ length: 100 }, (_unused, n) => store.write("k", { n })));
    expect(await store.read("k")).toEqual({ n: 99 });
    await store.close();
  });

  test.skipIf(missing)("refuses a second writer by name, and lets one in after close", async () => {
    const store = await open(path);
    await expect(open(path)).rejects.toThrow(/another gateway \(process \d+\) uses the store/);
    await store.close();
    await (await open(path)).close();
  });

  test.skipIf(missing)("a lock left by a killed process is no hindrance", async () => {
    const holder = spawn(
      process.execPath,
      [
        "--import",
        "tsx",
        "-e",
        `import("./src/store/file-store.ts").then((m) => m.openFileStore({ path: ${JSON.stringify(path)} })).then(() => { console.log("held"); setInterval(() => {}, 1000); })`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await once(holder.stdout, "data");
    await expect(open(path)).rejects.toThrow(/another gateway/);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await (await open(path)).close();
  });

  test.skipIf(missing)("closing twice is closing once", async () => {
    const store = await open(path);
    await store.close();
    await store.close();
  });
});
