import { connect } from "node:net";
import { deflateSync, gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.ts";
import type { HttpServer } from "../../src/http/listen.ts";
import { createStub, postJson, rawExchange, start, type Stub } from "./_stub.ts";

const image = { name: "image", shape: [1, 3], datatype: "FP32", data: [0.5, 0.25, -1] };

let stub: Stub;
let server: HttpServer;
let infer: string;

beforeEach(async () => {
  stub = createStub();
  server = await start(stub);
  infer = `${server.url}/v2/models/copy/infer`;
});
afterEach(() => server.close({ drainMs: 0 }));

async function errorOf(response: Response): Promise<string> {
  expect(response.headers.get("content-type")).toBe("application/json");
  return ((await response.json()) as { error: string }).error;
}

function binaryRequest(header: object): { body: Buffer; headers: Record<string, string> } {
  const json = Buffer.from(JSON.stringify(header));
  const body = Buffer.concat([json, Buffer.from(Float32Array.of(0.5, 0.25, -1).buffer)]);
  return { body, headers: { "inference-header-content-length": String(json.length) } };
}

const binaryImage = {
  name: "image",
  shape: [1, 3],
  datatype: "FP32",
  parameters: { binary_data_size: 12 },
};

describe("an answer", () => {
  it("repeats the id and names model, version and engine, in body and header", async () => {
    const response = await postJson(infer, { id: "mine", inputs: [image] });
    expect(response.status).toBe(200);
    expect(response.headers.get("crosscheck-engine")).toBe("onnxruntime-1");
    expect(await response.json()).toEqual({
      id: "mine",
      model_name: "copy",
      model_version: "1",
      parameters: { engine: "onnxruntime-1" },
      outputs: [
        { name: "scores", datatype: "FP32", shape: [1, 3], data: [0.5, 0.25, -1] },
        { name: "count", datatype: "INT64", shape: [1], data: [1] },
      ],
    });
  });

  it("is given an id when the request has none: the header's, else a new one", async () => {
    await postJson(infer, { inputs: [image] }, { "x-request-id": "from-header" });
    await postJson(infer, { inputs: [image] });
    await postJson(infer, { inputs: [image] });
    const [first, second, third] = stub.requests.map(({ id }) => id);
    expect(first).toBe("from-header");
    expect(second).toMatch(/^[0-9a-f-]{36}$/);
    expect(third).not.toBe(second);
  });

  it("comes for version 1 too, and for no other", async () => {
    const url = `${server.url}/v2/models/copy/versions`;
    expect((await postJson(`${url}/1/infer`, { inputs: [image] })).status).toBe(200);
    const refused = await postJson(`${url}/2/infer`, { inputs: [image] });
    expect(refused.status).toBe(404);
    expect(await errorOf(refused)).toMatch(/no version "2"; the only one is 1/);
  });

  it("carries binary outputs after the JSON when they are asked for", async () => {
    const { body, headers } = binaryRequest({
      parameters: { binary_data_output: true },
      inputs: [binaryImage],
    });
    const response = await fetch(infer, { method: "POST", body, headers });
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
    const length = Number(response.headers.get("inference-header-content-length"));
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(JSON.parse(bytes.subarray(0, length).toString())).toMatchObject({
      outputs: [{ parameters: { binary_data_size: 12 } }, { parameters: { binary_data_size: 8 } }],
    });
    const tensor = new Uint8Array(bytes.subarray(length, length + 12));
    expect([...new Float32Array(tensor.buffer)]).toEqual([0.5, 0.25, -1]);
    expect(bytes.readBigInt64LE(length + 12)).toBe(1n);
  });

  it("of many bytes arrives whole", async () => {
    const width = 60_000;
    await server.close({ drainMs: 0 });
    stub = createStub({
      inputs: [{ name: "image", datatype: "FP32", shape: [width] }],
      outputs: [{ name: "scores", datatype: "FP32", shape: [width] }],
    });
    server = await start(stub);
    const values = Float32Array.from({ length: width }, (_, index) => index / 7);
    const response = await fetch(`${server.url}/v2/models/copy/infer`, {
      method: "POST",
      body: new Uint8Array(values.buffer),
      headers: { "inference-header-content-length": "0" },
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const length = Number(response.headers.get("inference-header-content-length"));
    expect(Buffer.from(values.buffer).equals(bytes.subarray(length))).toBe(true);
  });

  it("has classes with labels for the classification parameter", async () => {
    const outputs = [{ name: "scores", parameters: { classification: 2 } }];
    const response = await postJson(infer, { inputs: [image], outputs });
    expect(await response.json()).toMatchObject({
      outputs: [{ datatype: "BYTES", shape: [1, 2], data: ["0.5:0:stop", "0.25:1:yield"] }],
    });
    expect(stub.requests.at(-1)?.outputs).toEqual(["scores"]);
  });

  it("is counted once with status, engine and times", async () => {
    await postJson(infer, { inputs: [image] });
    await postJson(infer, { inputs: [] });
    expect(stub.answered).toMatchObject([
      { model: "copy", engine: "onnxruntime-1", status: 200, queueSeconds: 0.001, engineSeconds: 0.002 },
      { model: "copy", engine: undefined, status: 400, queueSeconds: 0, engineSeconds: 0 },
    ]);
    expect(stub.answered[0]?.seconds).toBeGreaterThan(0);
  });

  it("is counted for the engine that failed, and names it", async () => {
    stub.behaviour = () => Promise.reject(new GatewayError("engineFailed", "no", { engine: "autotvm-1" }));
    const response = await postJson(infer, { inputs: [image] });
    expect(response.headers.get("crosscheck-engine")).toBe("autotvm-1");
    expect(stub.answered).toMatchObject([{ engine: "autotvm-1", status: 500 }]);
  });
});

describe("what the service is told", () => {
  it("the pinned engine and the request's own time limit", async () => {
    const response = await postJson(infer, {
      parameters: { engine: "autotvm-1", timeout: 1500 },
      inputs: [image],
    });
    expect(response.headers.get("crosscheck-engine")).toBe("autotvm-1");
    expect(stub.requests.at(-1)).toMatchObject({ pinnedEngine: "autotvm-1", timeoutMs: 1.5 });
  });

  it("that the client has gone", async () => {
    const aborted = new Promise<void>((resolve) => {
      stub.behaviour = ({ cancellation }) =>
        new Promise((done) => {
          cancellation.onCancel(() => {
            resolve();
            done();
          });
          leave.abort();
        });
    });
    const leave = new AbortController();
    const request = fetch(infer, {
      method: "POST",
      body: JSON.stringify({ inputs: [image] }),
      signal: leave.signal,
    });
    await expect(request).rejects.toThrow();
    await aborted;
    await expect.poll(() => stub.answered.at(-1)?.status).toBe(499);
  });
});

describe("an error of the service", () => {
  it.each([
    ["busy", 429],
    ["timeout", 504],
    ["unavailable", 503],
    ["engineFailed", 500],
    ["conflict", 409],
  ] as const)("%s is %d with its message", async (code, status) => {
    stub.behaviour = () => Promise.reject(new GatewayError(code, `because of ${code}`));
    const response = await postJson(infer, { inputs: [image] });
    expect(response.status).toBe(status);
    expect(response.headers.get("retry-after")).toBe(code === "busy" ? "1" : null);
    expect(await errorOf(response)).toBe(`because of ${code}`);
  });

  it("before the request is read keeps the connection for the next one", async () => {
    const body = JSON.stringify({ inputs: [image] });
    const head = `POST /v2/models/copy/infer HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\ncontent-length: ${body.length}\r\n\r\n`;
    const inference = stub.services.inference as { resolve: (model: string) => object };
    const { resolve } = inference;
    inference.resolve = () => {
      throw new GatewayError("busy", "full");
    };
    const socket = connect(server.port, "127.0.0.1").setEncoding("utf8");
    let text = "";
    socket.on("data", (more: string) => (text += more));
    socket.write(head);
    await expect.poll(() => text).toContain("429");
    expect(stub.answered.at(-1)).toMatchObject({ id: "mine", status: 429 });
    inference.resolve = resolve;
    socket.write(`${body}${head}${body}`);
    await expect.poll(() => text).toContain("HTTP/1.1 200");
    socket.destroy();
  });

  it("says when to come back", async () => {
    stub.behaviour = () => Promise.reject(new GatewayError("busy", "full", { retryAfterSeconds: 2.2 }));
    expect((await postJson(infer, { inputs: [image] })).headers.get("retry-after")).toBe("3");
  });

  it("that is unknown is 500 without its text", async () => {
    stub.behaviour = () => Promise.reject(new Error("secret path"));
    const response = await postJson(infer, { inputs: [image] });
    expect(response.status).toBe(500);
    expect(await errorOf(response)).not.toMatch(/secret/);
  });

  it("during a cold start ends at the request's time limit", async () => {
    const { inference } = stub.services;
    const slow = createStub();
    const services = {
      ...slow.services,
      inference: { ...inference, resolve: () => new Promise<never>(() => {}) },
    };
    const cold = await start({ ...slow, services });
    const response = await postJson(`${cold.url}/v2/models/copy/infer`, {
      parameters: { timeout: 20_000 },
      inputs: [image],
    });
    expect(response.status).toBe(504);
    expect(await errorOf(response)).toMatch(/not loaded within the request's timeout of 20 ms/);
    await cold.close({ drainMs: 0 });
  });
});

describe("a body", () => {
  it.each([
    ["gzip", gzipSync],
    ["deflate", deflateSync],
  ] as const)("packed with %s is taken, in JSON and binary", async (encoding, pack) => {
    const headers = { "content-encoding": encoding };
    const json = await fetch(infer, {
      method: "POST",
      headers,
      body: new Uint8Array(pack(JSON.stringify({ inputs: [image] }))),
    });
    expect(json.status).toBe(200);
    const binary = binaryRequest({ inputs: [binaryImage] });
    const response = await fetch(infer, {
      method: "POST",
      headers: { ...headers, ...binary.headers },
      body: new Uint8Array(pack(binary.body)),
    });
    expect(response.status).toBe(200);
  });

  it.each([
    ["gzip", /not valid gzip/],
    ["deflate", /not valid deflate/],
    ["br", /Content-Encoding "br" is not taken; send gzip, deflate/],
    ["gzip, gzip", /not taken/],
  ])("that is no %s is 400", async (encoding, message) => {
    const response = await fetch(infer, {
      method: "POST",
      headers: { "content-encoding": encoding },
      body: "not packed",
    });
    expect(response.status).toBe(400);
    expect(await errorOf(response)).toMatch(message);
  });

  it("cut short while packed is 400", async () => {
    const packed = gzipSync(JSON.stringify({ inputs: [image] }));
    const response = await fetch(infer, {
      method: "POST",
      headers: { "content-encoding": "gzip" },
      body: new Uint8Array(packed.subarray(0, -10)),
    });
    expect(response.status).toBe(400);
  });

  it("that unpacks beyond the limit is 413", async () => {
    const response = await fetch(infer, {
      method: "POST",
      headers: { "content-encoding": "gzip" },
      body: new Uint8Array(gzipSync(Buffer.alloc(20_000_000))),
    });
    expect(response.status).toBe(413);
    expect(await errorOf(response)).toMatch(
      /over the limit of 1000000 bytes: it has more when unpacked; send less, or raise limits/,
    );
  });

  it("announced beyond the limit is 413 before any of it is read", async () => {
    const reply = await rawExchange(
      server.port,
      "POST /v2/models/copy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
    );
    expect(reply).toMatch(/^HTTP\/1\.1 413 /);
    expect(reply).toMatch(/over the limit of 1000000 bytes: it has 99999999999;/);
  });

  it("announced beyond the limit is not asked for by 100-continue", async () => {
    const reply = await rawExchange(
      server.port,
      "POST /v2/models/copy/infer HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n",
    );
    expect(reply).toMatch(/^HTTP\/1\.1 413 /);
  });

  it("in chunks is counted, and 413 once it is over the limit", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    let reply = "";
    socket.on("data", (data: Buffer) => (reply += data.toString()));
    socket.write("POST /v2/models/copy/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    const writing = setInterval(() => socket.writable && socket.write(chunk), 1);
    // Not once(): a client that goes on writing is cut off in the end, which is an error of its socket.
    await new Promise<void>((resolve) => socket.once("close", () => resolve()));
    clearInterval(writing);
    expect(reply).toMatch(/^HTTP\/1\.1 413 /);
  });

  it("in chunks within the limit is taken", async () => {
    const text = JSON.stringify({ inputs: [image] });
    const chunks = Array.from(text, (letter) => `1\r\n${letter}\r\n`).join("");
    const reply = await rawExchange(
      server.port,
      `POST /v2/models/copy/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}0\r\n\r\n`,
    );
    expect(reply).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("that never comes leaves other requests alone", async () => {
    const socket = connect(server.port, "127.0.0.1");
    socket.write("POST /v2/models/copy/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
    expect((await postJson(infer, { inputs: [image] })).status).toBe(200);
    socket.destroy();
    await expect.poll(() => stub.answered.at(-1)?.status).toBe(499);
  });

  it.each([["x"], ["-1"], ["1.5"], ["0x10"], ["99999999999999999999"]])(
    "with header length %s is 400",
    async (length) => {
      const response = await postJson(
        infer,
        { inputs: [image] },
        { "inference-header-content-length": length },
      );
      expect(response.status).toBe(400);
      expect(await errorOf(response)).toMatch(/Inference-Header-Content-Length is/);
    },
  );
});

describe("a model", () => {
  it.each([
    ["unknown", 404, /there is no model .*unknown/],
    ["..", 404, /there is no/],
    ["%2e%2e%2fsecret", 404, /there is no/],
    ["copy%2f..%2fcopy", 404, /there is no/],
    ["co%00py", 404, /there is no/],
    ["x".repeat(65), 404, /there is no/],
  ])("named %s is %d", async (name, status, message) => {
    const reply = await rawExchange(
      server.port,
      `POST /v2/models/${name}/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}`,
    );
    expect(reply.startsWith(`HTTP/1.1 ${status} `)).toBe(true);
    expect(reply).toMatch(message);
    expect(stub.requests).toEqual([]);
  });
});
