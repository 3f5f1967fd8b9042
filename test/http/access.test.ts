import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../../src/core/clock.ts";
import { checkExposure, isLoopback } from "../../src/http/access.ts";
import { sha256 } from "../../src/http/keys-file.ts";
import type { HttpServer } from "../../src/http/listen.ts";
import { createStub, postJson, rawExchange, start, type Stub } from "./_stub.ts";

const image = { name: "image", shape: [1, 3], datatype: "FP32", data: [0.5, 0.25, -1] };
const secrets = {
  infer: "infer-0123456789abcdef",
  control: "control-0123456789abcdef",
  all: "all-0123456789abcdef",
};

let folder: string;
let keysFile: string;
let stub: Stub;
let server: HttpServer;
let now = 0;
const clock: Clock = { seconds: () => now, now: () => new Date(0) };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosscheck-keys-"));
  keysFile = join(folder, "keys.yaml");
  stub = createStub();
  now = 0;
});
afterEach(async () => {
  await server.close({ drainMs: 0 });
  await rm(folder, { recursive: true });
});

function keysText(infer = secrets.infer): string {
  return [
    "keys:",
    `  - { name: client, key: ${infer}, roles: [infer] }`,
    `  - { name: operator, sha256: ${sha256(secrets.control).toString("hex")}, roles: [control] }`,
    `  - { name: owner, key: ${secrets.all}, roles: [infer, control, metrics] }`,
  ].join("\n");
}

async function startWithKeys(): Promise<void> {
  await writeFile(keysFile, keysText());
  server = await start(stub, { access: { keysFile } }, { clock });
}

function bearer(secret: string): Record<string, string> {
  return { authorization: `Bearer ${secret}` };
}

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(server.url + path, { headers });
}

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return postJson(server.url + path, body, headers);
}

const inferPath = "/v2/models/copy/infer";
const switchPath = "/v1/models/copy/switch";
const switchBody = { engine: "autotvm-1", reason: "test" };

describe("keys", () => {
  beforeEach(startWithKeys);

  it("are needed for everything but health, the page and the description", async () => {
    for (const path of [
      "/v2",
      "/v2/models/copy",
      "/v1/log",
      "/metrics",
      "/v1/models/copy/engines",
      "/v1/events",
    ]) {
      const response = await get(path);
      expect([path, response.status]).toEqual([path, 401]);
      expect(response.headers.get("www-authenticate")).toMatch(/^Bearer/);
      expect(await response.json()).toEqual({ error: expect.stringMatching(/a key is needed/) as string });
    }
    expect((await post(inferPath, { inputs: [image] })).status).toBe(401);
    for (const path of ["/v2/health/live", "/v2/health/ready", "/", "/openapi.json"]) {
      expect([path, (await get(path)).status]).toEqual([path, 200]);
    }
  });

  it("open what their roles say and nothing else", async () => {
    const infer = bearer(secrets.infer);
    const control = bearer(secrets.control);
    const all = bearer(secrets.all);
    expect((await post(inferPath, { inputs: [image] }, infer)).status).toBe(200);
    expect((await post(inferPath, { inputs: [image] }, control)).status).toBe(403);
    expect((await post("/v1/models/copy/feedback", { id: "1", label: "stop" }, infer)).status).toBe(202);
    expect((await post(switchPath, switchBody, infer)).status).toBe(403);
    expect((await post("/v2/repository/models/copy/unload", {}, infer)).status).toBe(403);
    expect((await post(switchPath, switchBody, control)).status).toBe(200);
    expect((await get("/metrics", infer)).status).toBe(403);
    expect((await get("/metrics", all)).status).toBe(200);
    const refused = await get("/v1/log", infer);
    expect(await refused.json()).toEqual({ error: 'key "client" has roles infer; this needs control' });
  });

  it("of role control are needed to pin an engine", async () => {
    const pinned = { parameters: { engine: "autotvm-1" }, inputs: [image] };
    expect((await post(inferPath, pinned, bearer(secrets.infer))).status).toBe(403);
    expect(stub.requests).toEqual([]);
    expect((await post(inferPath, pinned, bearer(secrets.all))).status).toBe(200);
  });

  it("name who asked in the decision", async () => {
    await post(switchPath, switchBody, bearer(secrets.control));
    expect(stub.calls).toEqual(["switch copy autotvm-1 test operator"]);
  });

  it.each([
    ["Bearer wrong-key-0123456789"],
    ["Bearer "],
    ["Basic YTpi"],
    [secrets.all],
    [`Bearer ${secrets.all} x`],
  ])("are refused as %s", async (authorization) => {
    expect((await get("/v2", { authorization })).status).toBe(401);
  });

  it("change with their file, replaced whole or edited in place", async () => {
    const renewed = "renewed-0123456789abcdef";
    await writeFile(join(folder, "new.yaml"), keysText(renewed));
    await rename(join(folder, "new.yaml"), keysFile);
    now += 2;
    expect((await get("/v2", bearer(secrets.infer))).status).toBe(401);
    expect((await get("/v2", bearer(renewed))).status).toBe(200);
    await writeFile(keysFile, keysText());
    now += 2;
    expect((await get("/v2", bearer(secrets.infer))).status).toBe(200);
  });

  it("stay the last good ones when the file breaks or goes", async () => {
    for (const text of ["keys: [", "keys: []", "keys: [{name: a, key: short, roles: [infer]}]", ""]) {
      await writeFile(keysFile, text);
      now += 2;
      expect((await get("/v2", bearer(secrets.infer))).status).toBe(200);
    }
    await rm(keysFile);
    now += 2;
    expect((await get("/v2", bearer(secrets.infer))).status).toBe(200);
    await writeFile(keysFile, keysText("another-0123456789abcdef"));
    now += 2;
    expect((await get("/v2", bearer(secrets.infer))).status).toBe(401);
  });
});

describe("a keys file", () => {
  it.each([
    ["absent", undefined, /keys\.yaml cannot be read/],
    ["with a short key", "keys: [{name: a, key: short, roles: [infer]}]", /at least 16 characters/],
    ["with an unknown role", `keys: [{name: a, key: ${secrets.all}, roles: [admin]}]`, /admin/],
    ["with neither key nor digest", "keys: [{name: a, roles: [infer]}]", /either key or sha256/],
  ])("%s is refused at the start", async (_what, text, message) => {
    if (text !== undefined) await writeFile(keysFile, text);
    server = await start(stub);
    await expect(start(stub, { access: { keysFile } })).rejects.toThrow(message);
  });
});

describe("the page's login", () => {
  beforeEach(startWithKeys);

  async function login(secret: string): Promise<{ response: Response; cookie: string }> {
    const response = await post("/v1/login", { key: secret });
    return { response, cookie: response.headers.get("set-cookie") ?? "" };
  }

  it("trades a key for a cookie that scripts cannot read and other sites cannot use", async () => {
    const { response, cookie } = await login(secrets.control);
    expect(await response.json()).toEqual({ name: "operator", roles: ["control"] });
    expect(cookie).toMatch(
      /^crosscheck_session=[\w-]{43}; Max-Age=43200; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    expect(cookie).not.toContain(secrets.control);
    const [pair = ""] = cookie.split(";");
    expect((await get("/v1/log", { cookie: pair })).status).toBe(200);
    expect((await get("/v2", { cookie: pair })).status).toBe(403);
    expect((await get("/v1/log", { cookie: `other=1; ${pair}` })).status).toBe(200);
  });

  it("refuses a wrong key", async () => {
    const { response, cookie } = await login("wrong-0123456789abcdef");
    expect([response.status, cookie]).toEqual([401, ""]);
  });

  it("ends with logout, with time, and with its key", async () => {
    const open = async (): Promise<string> => (await login(secrets.all)).cookie.split(";")[0] ?? "";
    const first = await open();
    const out = await post("/v1/logout", {}, { cookie: first });
    expect(out.headers.get("set-cookie")).toMatch(/^crosscheck_session=; Max-Age=0/);
    expect((await get("/v2", { cookie: first })).status).toBe(401);

    const second = await open();
    now += 13 * 3600;
    expect((await get("/v2", { cookie: second })).status).toBe(401);

    const third = await open();
    await writeFile(keysFile, keysText().replace(secrets.all, "changed-0123456789abcdef"));
    now += 2;
    expect((await get("/v2", { cookie: third })).status).toBe(401);
  });

  it("is refused from a foreign page", async () => {
    const response = await post("/v1/login", { key: secrets.all }, { origin: "https://evil.example" });
    expect(response.status).toBe(403);
  });
});

describe("pages of other sites", () => {
  it("cannot control the gateway, with keys or without", async () => {
    await startWithKeys();
    const host = `127.0.0.1:${server.port}`;
    const as = (origin: string): Promise<Response> =>
      post(switchPath, switchBody, { ...bearer(secrets.control), origin });
    for (const origin of [
      "https://evil.example",
      "null",
      `http://127.0.0.1:${server.port + 1}`,
      `http://${host}.evil`,
    ]) {
      expect([origin, (await as(origin)).status]).toEqual([origin, 403]);
    }
    expect((await as(`http://${host}`)).status).toBe(200);
    expect((await as(`https://${host}`)).status).toBe(200);
    await server.close({ drainMs: 0 });

    server = await start(stub);
    expect((await post(switchPath, switchBody, { origin: "https://evil.example" })).status).toBe(403);
    expect(
      (await post("/v2/repository/models/copy/unload", {}, { origin: "https://evil.example" })).status,
    ).toBe(403);
    expect(stub.loaded.has("copy")).toBe(true);
  });

  it.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])(
    "cannot send %s, which needs no preflight, to a control route",
    async (type) => {
      server = await start(stub);
      for (const path of [
        switchPath,
        "/v1/models/copy/rollback",
        "/v2/repository/models/copy/unload",
        "/v1/login",
      ]) {
        const response = await post(path, switchBody, { "content-type": type });
        expect([path, response.status]).toEqual([path, 415]);
        expect(await response.json()).toEqual({
          error: `Content-Type is "${type.split(";")[0]}"; send application/json`,
        });
      }
      expect(stub.calls).toEqual([]);
    },
  );

  it("may be answered without a type only where V2 clients send none", async () => {
    server = await start(stub);
    const bare = (path: string): Promise<string> =>
      rawExchange(
        server.port,
        `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`,
      );
    expect(await bare("/v2/repository/models/copy/load")).toMatch(/^HTTP\/1\.1 200/);
    expect(await bare(switchPath)).toMatch(/^HTTP\/1\.1 415/);
  });
});

describe("a rebound DNS name", () => {
  const asHost = (path: string, host: string): Promise<string> =>
    rawExchange(server.port, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);

  it("cannot reach control routes on loopback without keys, nor pin", async () => {
    server = await start(stub);
    expect(await asHost("/v1/log", "evil.example:8000")).toMatch(/^HTTP\/1\.1 403/);
    expect(await asHost("/v1/log", "127.0.0.1.evil.example")).toMatch(/^HTTP\/1\.1 403/);
    for (const host of ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.8.9.1"]) {
      expect([host, (await asHost("/v1/log", host)).slice(9, 12)]).toEqual([host, "200"]);
    }
    const body = JSON.stringify({ parameters: { engine: "x" }, inputs: [image] });
    const pin = await rawExchange(
      server.port,
      `POST ${inferPath} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(pin).toMatch(/^HTTP\/1\.1 403/);
    expect(pin).toMatch(/Host evil\.example is not loopback; use 127\.0\.0\.1/);
  });

  it("does not matter where keys are asked for", async () => {
    await startWithKeys();
    expect(await asHost("/v1/log", "gateway.example")).toMatch(/^HTTP\/1\.1 401/);
  });
});

describe("an address beyond loopback", () => {
  beforeEach(async () => {
    server = await start(stub);
  });

  it.each(["0.0.0.0", "::", "192.168.1.5", "gateway.example"])("%s needs keys or the user's word", (host) => {
    expect(() => checkExposure({ host, keysFile: undefined, open: false })).toThrow(
      /can be reached from other machines.*access\.keysFile, or access\.open/,
    );
    expect(() => checkExposure({ host, keysFile: "keys.yaml", open: false })).not.toThrow();
    expect(() => checkExposure({ host, keysFile: undefined, open: true })).not.toThrow();
  });

  it("is told from loopback by its numbers", () => {
    expect(
      ["127.0.0.1", "127.255.0.3", "::1", "[::1]", "localhost", "x.localhost"].map(isLoopback),
    ).not.toContain(false);
    expect(
      ["0.0.0.0", "::", "128.0.0.1", "127.0.0.1.nip.io", "localhost.evil", ""].map(isLoopback),
    ).not.toContain(true);
  });
});
