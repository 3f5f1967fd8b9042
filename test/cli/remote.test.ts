import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { captureOutput } from "./_output.ts";

const said = captureOutput();
let server: Server;
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function serve(listener: RequestListener): Promise<string> {
  server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function run(...args: readonly string[]): Promise<number> {
  process.exitCode = 0;
  await main(args);
  return process.exitCode;
}

const commands: [string, (url: string) => string[]][] = [
  ["status", (url) => ["status", "--url", url]],
  ["engines", (url) => ["engines", "m", "--url", url]],
  ["switch", (url) => ["switch", "m", "e", "--reason", "r", "--url", url]],
  ["bench", (url) => ["bench", url, "--model", "m"]],
];

test.each(commands)("%s says that a web server is no gateway", async (_name, args) => {
  const url = await serve((_request, reply) => reply.end("<html>hello</html>"));
  expect(await run(...args(url))).toBe(1);
  expect(said.err).toMatch(/is it one\?|is it a V2 server\?/);
  expect(said.err).not.toMatch(/TypeError|undefined|JSON/);
});

test.each(commands)("%s gives up on a server that does not answer", async (_name, args) => {
  const url = await serve(() => {});
  expect(await run(...args(url), "--timeout", "0.2")).toBe(1);
  expect(said.err).toMatch(/did not answer .* within 0\.2 s|no server answers/);
});

/** A gateway without models, with one such event. */
async function serveStatus(metrics: object | undefined): Promise<string> {
  return serve(({ url }, reply) => {
    if (url === "/v2") reply.end(JSON.stringify({ name: "crosscheck", version: "1" }));
    else if (url === "/v2/repository/index") reply.end("[]");
    else if (url !== "/v1/events") reply.end("{}");
    else if (metrics === undefined) reply.writeHead(403).end('{"error":"the key lacks the role"}');
    else {
      reply.write("retry: 2000\n\nid: 1\nevent: state\ndata: {}\n\nid: 2\nevent: met");
      setTimeout(() => reply.write(`rics\ndata: ${JSON.stringify(metrics)}\n\n`), 20);
    }
  });
}

test.each([
  [
    "trouble with the store",
    { storeTrouble: "Redis is away; start it" },
    "  store: Redis is away; start it\n",
  ],
  ["nothing when all is well", { storeTrouble: null }, ""],
  ["nothing where the key may not know", undefined, ""],
])("status tells %s", async (_, metrics, words) => {
  const url = await serveStatus(metrics);
  expect(await run("status", "--url", url)).toBe(0);
  expect(said.out).toBe(`crosscheck 1 at ${url}: ready\n${words}`);
  said.out = "";
  expect(await run("status", "--json", "--url", url)).toBe(0);
  expect(JSON.parse(said.out)).toEqual({
    name: "crosscheck",
    version: "1",
    ready: true,
    models: [],
    ...metrics,
  });
});

test.each([
  ["a", "m: a -> b (decision 7)"],
  ["b", "m: b stays active, held against automatic decisions for the cooldown (decision 7)"],
])("switch says what became of it: %s was active", async (from, words) => {
  const url = await serve((_request, reply) =>
    reply.end(JSON.stringify({ model: "m", from, to: "b", decision: { seq: 7 } })),
  );
  expect(await run("switch", "m", "b", "--reason", "r", "--url", url)).toBe(0);
  expect(said.out).toBe(`${words}\n`);
});

const metadata = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 2] }] };

test("bench keeps the path of the address, and counts errors in JSON too", async () => {
  const paths = new Set<string>();
  let asked = 0;
  const url = await serve((request, reply) => {
    paths.add(request.url ?? "");
    const described = request.method === "GET";
    request.resume();
    reply.statusCode = described || (asked += 1) === 1 ? 200 : 500;
    reply.end(described ? JSON.stringify(metadata) : '{"error":"no"}');
  });
  expect(
    await run("bench", `${url}/way/`, "--model", "m", "--rate", "50", "--seconds", "0.1", "--json"),
  ).toBe(1);
  expect(paths).toEqual(new Set(["/way/v2/models/m", "/way/v2/models/m/infer"]));
  expect(JSON.parse(said.out)).toMatchObject({ sent: 5, failed: 5, errors: { '500 {"error":"no"}': 5 } });
});

test("bench: an unknown model is a fault of what was asked", async () => {
  const url = await serve((_request, reply) => {
    reply.statusCode = 404;
    reply.end('{"error":"model \\"m\\" is not known"}');
  });
  expect(await run("bench", url, "--model", "m")).toBe(2);
  expect(said.err).toContain('model "m" is not known');
});
