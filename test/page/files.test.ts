import { afterAll, beforeAll, expect, test } from "vitest";
import { gunzipSync } from "node:zlib";
import { createPage } from "../../src/page/page.ts";
import type { HttpServer } from "../../src/http/listen.ts";
import { createStub, rawExchange, start } from "../http/_stub.ts";

let server: HttpServer;
beforeAll(async () => {
  server = await start({ ...createStub(), services: { ...createStub().services, page: createPage() } });
});
afterAll(() => server.close({ drainMs: 0 }));

test("the document and all it names are there, typed, under a policy without exceptions", async () => {
  const page = await fetch(`${server.url}/`);
  const html = await page.text();
  expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
  expect(page.headers.get("content-security-policy")).not.toMatch(/unsafe|https?:|\*|data:/);
  const names = [...html.matchAll(/(?:href|src)="(page\/[^"]+)"/g)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(5);
  for (const name of names) {
    const response = await fetch(`${server.url}/${name}`);
    expect([name, response.status]).toEqual([name, 200]);
    expect(response.headers.get("content-type")).toMatch(
      /^(text\/(javascript|css); charset=utf-8|image\/svg\+xml)$/,
    );
    const body = await response.text();
    // Every module that is imported is preloaded: none waits for another.
    for (const [, imported] of body.matchAll(/^import .* from "\.\/(.*)";$/gm))
      expect(names).toContain(`page/${imported}`);
  }
});

test("what a browser has is not sent again; who takes no gzip gets none", async () => {
  const first = await fetch(`${server.url}/page/app.js`, { headers: { "accept-encoding": "identity" } });
  expect(first.headers.get("content-encoding")).toBeNull();
  const text = await first.text();
  const etag = first.headers.get("etag") ?? "";
  const again = await fetch(`${server.url}/page/app.js`, { headers: { "if-none-match": etag } });
  expect([again.status, await again.text()]).toEqual([304, ""]);
  const file = createPage().file("app.js");
  expect(gunzipSync(file?.gzip ?? new Uint8Array()).toString()).toBe(text);
});

test.each([
  "/page/none.js",
  "/page/types.d.ts",
  "/page/tsconfig.json",
  "/page/..%2fpage.ts",
  "/page/%2e%2e/page.ts",
])("%s is not there", async (path) => {
  const answer = await rawExchange(
    server.port,
    `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n`,
  );
  expect(answer).toMatch(/^HTTP\/1\.1 404 /);
});
