import { connect } from "node:net";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HttpServer } from "../../src/http/listen.ts";
import { createStub, postJson, rawExchange, start, type Stub } from "./_stub.ts";

let stub: Stub;
let server: HttpServer;

beforeEach(async () => {
  stub = createStub();
  server = await start(stub);
});
afterEach(() => server.close({ drainMs: 0 }));

async function get(path: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(server.url + path);
  return { status: response.status, body: await response.json() };
}

async function post(path: string, body: unknown): Promise<{ status: number; body: unknown }> {
  const response = await postJson(server.url + path, body);
  return { status: response.status, body: await response.json() };
}

describe("V2", () => {
  it("tells what the server is and can", async () => {
    expect(await get("/v2")).toEqual({
      status: 200,
      body: {
        name: "crosscheck",
        version: "0.0.0-test",
        extensions: expect.arrayContaining([
          "binary_tensor_data",
          "classification",
          "statistics",
        ]) as string[],
      },
    });
  });

  it("is live always and ready when the gateway says so", async () => {
    expect(await get("/v2/health/live")).toEqual({ status: 200, body: { live: true } });
    expect(await get("/v2/health/ready")).toEqual({ status: 200, body: { live: true, ready: true } });
    stub.ready = false;
    expect(await get("/v2/health/ready")).toEqual({
      status: 503,
      body: { live: true, ready: false, error: "gateway is not ready: draining" },
    });
  });

  it("describes a model, with and without its version", async () => {
    const expected = {
      name: "copy",
      versions: ["1"],
      platform: "crosscheck_onnxruntime",
      inputs: [{ name: "image", datatype: "FP32", shape: [-1, 3] }],
      outputs: [
        { name: "scores", datatype: "FP32", shape: [-1, 3] },
        { name: "count", datatype: "INT64", shape: [1] },
      ],
    };
    expect(await get("/v2/models/copy")).toEqual({ status: 200, body: expected });
    expect(await get("/v2/models/copy/versions/1")).toEqual({ status: 200, body: expected });
    expect((await get("/v2/models/copy/versions/3")).status).toBe(404);
    expect((await get("/v2/models/other")).status).toBe(404);
  });

  it("has the configuration that perf_analyzer asks for", async () => {
    expect((await get("/v2/models/copy/config")).body).toMatchObject({
      name: "copy",
      max_batch_size: 0,
      input: [{ name: "image", data_type: "TYPE_FP32", dims: [-1, 3] }],
      output: [{ name: "scores" }, { name: "count", data_type: "TYPE_INT64" }],
      instance_group: [{ kind: "KIND_CPU", count: 1 }],
      model_transaction_policy: { decoupled: false },
    });
  });

  it("counts in the statistics, per model and for all", async () => {
    await post("/v2/models/copy/infer", {
      inputs: [{ name: "image", shape: [1, 3], datatype: "FP32", data: [1, 2, 3] }],
    });
    const stats = {
      model_stats: [
        {
          name: "copy",
          version: "1",
          last_inference: 1_700_000_000_000,
          inference_count: 1,
          execution_count: 1,
          inference_stats: {
            success: { count: 1, ns: 1_000_000 },
            fail: { count: 0, ns: 0 },
            queue: { count: 1, ns: 1_000_000 },
            compute_infer: { count: 1, ns: 1_000_000 },
            cache_hit: { count: 0, ns: 0 },
          },
          batch_stats: [{ batch_size: 1, compute_infer: { count: 1, ns: 1_000_000 } }],
        },
      ],
    };
    expect((await get("/v2/models/stats")).body).toMatchObject(stats);
    expect((await get("/v2/models/copy/stats")).body).toMatchObject(stats);
    expect((await get("/v2/models/copy/versions/1/stats")).body).toMatchObject(stats);
  });

  it("lists, unloads and loads models", async () => {
    const unload = { parameters: { unload_dependents: false } };
    expect(await post("/v2/repository/index", {})).toEqual({
      status: 200,
      body: [{ name: "copy", version: "1", state: "READY", reason: "" }],
    });
    expect(await post("/v2/repository/models/copy/unload", unload)).toEqual({ status: 200, body: {} });
    expect((await get("/v2/models/copy/ready")).status).toBe(503);
    expect((await post("/v2/models/copy/infer", {})).status).toBe(404);
    expect((await post("/v2/repository/index", {})).body).toEqual([
      { name: "copy", version: "1", state: "UNAVAILABLE", reason: "unloaded" },
    ]);
    expect((await post("/v2/repository/index", { ready: true })).body).toEqual([]);
    expect((await post("/v2/repository/models/copy/load", {})).status).toBe(200);
    expect(await get("/v2/models/copy/ready")).toEqual({ status: 200, body: { name: "copy", ready: true } });
    expect((await post("/v2/repository/models/other/load", {})).status).toBe(404);
  });

  it.each(["config", "file:1/model.onnx"])("refuses %s with a load", async (name) => {
    const { status, body } = await post("/v2/repository/models/copy/load", { parameters: { [name]: "{}" } });
    expect(status).toBe(400);
    expect(body).toEqual({ error: expect.stringContaining(`"${name}" is refused`) as string });
  });

  it("takes the repository routes without a body", async () => {
    const response = await fetch(`${server.url}/v2/repository/index`, { method: "POST" });
    expect(response.status).toBe(200);
  });
});

describe("control", () => {
  it("switches and rolls back with a reason", async () => {
    expect(await post("/v1/models/copy/switch", { engine: "autotvm-1", reason: "faster" })).toEqual({
      status: 200,
      body: { model: "copy", from: "onnxruntime-1", to: "autotvm-1", decision: { number: 1 } },
    });
    expect((await post("/v1/models/copy/rollback", { reason: "slower" })).status).toBe(200);
    expect(stub.calls).toEqual(["switch copy autotvm-1 faster anonymous", "rollback copy slower anonymous"]);
    expect((await post("/v1/models/copy/switch", { engine: "none", reason: "x" })).status).toBe(404);
  });

  it.each([
    [{ engine: "a" }, /reason: is missing/],
    [{ engine: "a", reason: " " }, /reason/],
    [{ engine: 1, reason: "x" }, /engine: 1 is not a text/],
    [{ engine: "a", reason: "x", force: true }, /unknown key "force"/],
    [[], /\[\]/],
  ])("refuses the switch %j", async (request, message) => {
    const { status, body } = await post("/v1/models/copy/switch", request);
    expect(status).toBe(400);
    expect((body as { error: string }).error).toMatch(message);
  });

  it("refuses a body that is not JSON, or too large", async () => {
    const send = (body: string): Promise<Response> =>
      fetch(`${server.url}/v1/models/copy/switch`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
    expect((await send("{")).status).toBe(400);
    expect((await send(JSON.stringify({ reason: "x".repeat(100_000) }))).status).toBe(413);
  });

  it("keeps labels for requests it remembers", async () => {
    expect((await post("/v1/models/copy/feedback", { id: "7", label: "stop" })).status).toBe(202);
    expect((await post("/v1/models/copy/feedback", { id: "8", label: 3 })).status).toBe(202);
    expect(stub.calls).toEqual(["feedback 7 stop", "feedback 8 3"]);
    expect((await post("/v1/models/copy/feedback", { id: "forgotten", label: 1 })).status).toBe(404);
    expect((await post("/v1/models/copy/feedback", { id: "7", label: null })).status).toBe(400);
  });

  it("reads the log in pages", async () => {
    expect(await get("/v1/log")).toEqual({
      status: 200,
      body: { entries: [{ after: 0, limit: 1000 }], next: 1 },
    });
    expect((await get("/v1/log?after=41&limit=2")).body).toEqual({
      entries: [{ after: 41, limit: 2 }],
      next: 42,
    });
    for (const query of ["after=-1", "limit=0", "limit=1001", "after=x", "limit=1.5"]) {
      expect([query, (await get(`/v1/log?${query}`)).status]).toEqual([query, 400]);
    }
  });

  it("gives the report in three forms", async () => {
    const report = async (query: string): Promise<string[]> => {
      const response = await fetch(`${server.url}/v1/models/copy/report${query}`);
      return [response.headers.get("content-type") ?? "", await response.text()];
    };
    expect(await report("")).toEqual(["text/html; charset=utf-8", "report in html"]);
    expect(await report("?format=md")).toEqual(["text/markdown; charset=utf-8", "report in md"]);
    expect(await report("?format=json")).toEqual(["application/json", "{}"]);
    expect((await get("/v1/models/copy/report?format=pdf")).status).toBe(400);
  });

  it("answers the rest", async () => {
    expect((await get("/v1/models/copy/engines")).body).toMatchObject({ active: "onnxruntime-1" });
    expect((await get("/v1/models/copy/audit")).body).toMatchObject({ candidates: [] });
    const metrics = await fetch(`${server.url}/metrics`);
    expect([metrics.headers.get("content-type"), await metrics.text()]).toEqual([
      "text/plain; version=0.0.4",
      "up 1\n",
    ]);
    const page = await fetch(`${server.url}/`);
    expect(page.headers.get("content-security-policy")).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
    expect(await page.text()).toMatch(/Crosscheck/);
  });

  it("answers 404 and names the service where the gateway has none", async () => {
    const { inference, models } = stub.services;
    const lean = await start({ ...stub, services: { inference, models } });
    for (const [path, service] of [
      ["/v1/log", "log"],
      ["/metrics", "metrics"],
      ["/v1/models/copy/audit", "audit"],
      ["/", "page"],
    ]) {
      const response = await fetch(lean.url + path);
      expect(response.status).toBe(404);
      expect(await response.json()).toEqual({
        error: `this gateway runs without "${service}"; ${path} is not offered`,
      });
    }
    await lean.close({ drainMs: 0 });
  });
});

describe("events", () => {
  async function listenTo(
    headers: Record<string, string> = {},
  ): Promise<{ next: () => Promise<string>; stop: () => void }> {
    const leave = new AbortController();
    const response = await fetch(`${server.url}/v1/events`, { headers, signal: leave.signal });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const reader = response.body?.getReader();
    let text = "";
    return {
      stop: () => leave.abort(),
      async next() {
        for (;;) {
          const end = text.indexOf("\n\n");
          if (end >= 0) {
            const event = text.slice(0, end);
            text = text.slice(end + 2);
            return event;
          }
          const chunk = await reader?.read();
          text += Buffer.from(chunk?.value ?? []).toString();
        }
      },
    };
  }

  it("stream as they happen, and again from where a client was", async () => {
    const first = await listenTo();
    expect(await first.next()).toBe("retry: 2000");
    stub.events.emit("state", { model: "copy", line: "a\nb" });
    stub.events.emit("decision", { to: "x" });
    expect(await first.next()).toBe('id: 1\nevent: state\ndata: {"model":"copy","line":"a\\nb"}');
    expect(await first.next()).toBe('id: 2\nevent: decision\ndata: {"to":"x"}');
    first.stop();
    await expect.poll(() => stub.events.quiet).toBe(true);

    const second = await listenTo({ "last-event-id": "1" });
    await second.next();
    expect(await second.next()).toMatch(/^id: 2\n/);
    second.stop();
  });

  it("are not piled up for a client that does not read", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.pause();
    socket.write("GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    await expect.poll(() => stub.events.quiet).toBe(false);
    const large = "x".repeat(200_000);
    for (let n = 0; n < 200 && !stub.events.quiet; n += 1) {
      stub.events.emit("metrics", large);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await expect.poll(() => stub.events.quiet).toBe(true);
    socket.destroy();
  });

  it("end when the server closes", async () => {
    const client = await listenTo();
    await client.next();
    await server.close();
    expect(stub.events.quiet).toBe(true);
  });
});

describe("HEAD", () => {
  // Asked for as bytes: a client's library would drop a body that should not be there.
  const exchange = async (method: string, path: string) => {
    const reply = await rawExchange(
      server.port,
      `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    const [head = "", ...body] = reply.split("\r\n\r\n");
    return { head: head.replace(/\r\nDate: .*/, ""), body: body.join("") };
  };

  it.each([
    ["/v2", 200],
    ["/nope", 404],
    ["/v2/models/other", 404],
    ["/v2/models/copy/infer", 405],
  ])("%s has status %i, its content-length and no body", async (path, status) => {
    const { head, body } = await exchange("HEAD", path);
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(head).toMatch(/\r\ncontent-length: [1-9]/);
    expect(body).toBe("");
  });

  it("has the head of the GET", async () => {
    expect((await exchange("HEAD", "/v2")).head).toBe((await exchange("GET", "/v2")).head);
  });

  it("/metrics, which is sent in pieces, has its type and no body", async () => {
    const { head, body } = await exchange("HEAD", "/metrics");
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect(head).toMatch(/content-type: text\/plain; version=0\.0\.4/);
    expect(body).toBe("");
  });

  it("/v1/events, which never end, ends with its head", async () => {
    const { head, body } = await exchange("HEAD", "/v1/events");
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect(head).toMatch(/content-type: text\/event-stream/);
    expect(body).toBe("");
    expect(stub.events.quiet).toBe(true);
  });
});

describe("what is no route", () => {
  it.each([
    ["/nope"],
    ["/v2/"],
    ["/v2/models"],
    ["/v2/models/copy/nope"],
    ["/v2/../../etc/passwd"],
    ["//v2"],
    ["/%2e%2e/etc/passwd"],
  ])("%s is 404 in JSON", async (path) => {
    const reply = await rawExchange(
      server.port,
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(reply).toMatch(/^HTTP\/1\.1 404 /);
    expect(reply).toMatch(/content-type: application\/json/i);
    expect(reply).toMatch(/"error":/);
  });

  it("is 405 with Allow where the path takes another method", async () => {
    for (const [method, path, allow] of [
      ["GET", "/v2/models/copy/infer", "POST"],
      ["POST", "/v2", "GET, HEAD"],
      ["DELETE", "/v1/models/copy/switch", "POST"],
      ["PUT", "/metrics", "GET, HEAD"],
    ] as const) {
      const response = await fetch(server.url + path, { method });
      expect([path, response.status, response.headers.get("allow")]).toEqual([path, 405, allow]);
      expect(await response.json()).toEqual({ error: `${path} does not take ${method}; it takes ${allow}` });
    }
  });

  it("is JSON too when node's parser refuses the request", async () => {
    for (const [bytes, status] of [
      ["GARBAGE\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400],
      [`GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(20_000)}\r\n\r\n`, 431],
      [`GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
      ["GET /v2 HTTP/1.1\r\nConnection: close\r\n\r\n", 400],
      ["CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405],
      ["GET /v2 HTTP/1.1\r\nHost: x\r\nExpect: much\r\nConnection: close\r\n\r\n", 417],
      [
        "POST /v2/repository/index HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{",
        400,
      ],
    ] as const) {
      const reply = await rawExchange(server.port, bytes);
      expect([bytes.slice(0, 60), reply.slice(9, 12)]).toEqual([bytes.slice(0, 60), String(status)]);
      expect(reply).toMatch(/content-type: application\/json/i);
      expect(reply).toMatch(/\{"error":".*"\}$/);
    }
  });
});

describe("closing", () => {
  it("answers what is in flight and the next request of an open connection, then ends both", async () => {
    let release = (): void => {};
    stub.behaviour = () => new Promise((resolve) => (release = resolve));
    const socket = connect(server.port, "127.0.0.1");
    let text = "";
    socket.on("data", (data: Buffer) => (text += data.toString()));
    const body = JSON.stringify({
      inputs: [{ name: "image", shape: [1, 3], datatype: "FP32", data: [1, 2, 3] }],
    });
    const request = `POST /v2/models/copy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    socket.write(request);
    await expect.poll(() => stub.requests.length).toBe(1);
    const closed = server.close({ drainMs: 30_000 });
    release();
    await expect.poll(() => text).toMatch(/HTTP\/1\.1 200/);
    stub.behaviour = async () => {};
    socket.write(request);
    await once(socket, "close");
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    expect(text).toMatch(/connection: close/i);
    await closed;
    await expect(fetch(server.url)).rejects.toThrow();
  });

  it("cuts what does not end in time, and can be called twice", async () => {
    stub.behaviour = () => new Promise(() => {});
    const request = postJson(`${server.url}/v2/models/copy/infer`, {
      inputs: [{ name: "image", shape: [1, 3], datatype: "FP32", data: [1, 2, 3] }],
    });
    const failed = expect(request).rejects.toThrow();
    await expect.poll(() => stub.requests.length).toBe(1);
    await Promise.all([server.close({ drainMs: 50 }), server.close()]);
    await failed;
  });

  it("says so when the address is taken", async () => {
    await expect(start(stub, { port: server.port })).rejects.toThrow(
      /cannot listen on 127\.0\.0\.1:\d+: .*another program listens there; choose another --port/,
    );
  });
});
