import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HttpServer } from "../../src/http/listen.ts";
import { nastyBodies } from "../protocol/_corpus.ts";
import { createStub, start } from "./_stub.ts";

let server: HttpServer;
beforeAll(async () => {
  server = await start(createStub());
});
afterAll(() => server.close({ drainMs: 0 }));

async function post(path: string, body: Uint8Array, headers: Record<string, string>): Promise<number> {
  const response = await fetch(server.url + path, { method: "POST", body: new Uint8Array(body), headers });
  const value = (await response.json()) as { error?: string };
  if (response.status >= 400) expect(typeof value.error).toBe("string");
  return response.status;
}

const request = Buffer.from(
  JSON.stringify({ inputs: [{ name: "image", shape: [1, 3], datatype: "FP32", data: [1, 2, 3] }] }),
);

describe("whatever is sent to infer", () => {
  it.each(Object.entries(nastyBodies))("%s is a 4xx", async (_name, { body, headerLength }) => {
    const headers: Record<string, string> =
      headerLength === undefined ? {} : { "inference-header-content-length": String(headerLength) };
    const status = await post("/v2/models/copy/infer", body(), headers);
    expect([400, 413]).toContain(status);
  });

  it("is answered without a 5xx, and the server lives on", async () => {
    const garble = fc.tuple(fc.nat(request.length - 1), fc.nat(255)).map(([at, byte]) => {
      const body = Buffer.from(request);
      body[at] = byte;
      return body;
    });
    const body = fc.oneof(garble, fc.uint8Array({ maxLength: 200 }), fc.constant(request));
    const headers = fc.record(
      {
        "content-type": fc.constantFrom("application/json", "application/octet-stream", "text/plain", "x"),
        "content-encoding": fc.constantFrom("gzip", "deflate", "identity", "br"),
        "inference-header-content-length": fc.oneof(
          fc.nat(200).map(String),
          fc.constantFrom("0", "-1", "1e3", "NaN"),
        ),
        "x-request-id": fc.constantFrom("", "a", "b".repeat(300)),
        origin: fc.constantFrom("http://a", "null", ""),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(body, headers, async (bytes, fields) => {
        const response = await fetch(`${server.url}/v2/models/copy/infer`, {
          method: "POST",
          body: new Uint8Array(bytes),
          headers: fields as Record<string, string>,
        });
        await response.arrayBuffer();
        expect(response.status).toBeLessThan(500);
      }),
      { numRuns: 1500 },
    );
    expect(await post("/v2/models/copy/infer", request, {})).toBe(200);
  });

  it("is answered without a 5xx on control routes too", async () => {
    const paths = fc.constantFrom(
      "/v1/models/copy/switch",
      "/v1/models/copy/rollback",
      "/v1/models/copy/feedback",
      "/v1/login",
      "/v2/repository/index",
      "/v2/repository/models/copy/load",
      "/v2/repository/models/copy/unload",
    );
    const value = fc.oneof(
      fc.record({ engine: fc.jsonValue(), reason: fc.jsonValue() }, { requiredKeys: [] }),
      fc.record({ id: fc.jsonValue(), label: fc.jsonValue(), key: fc.jsonValue() }, { requiredKeys: [] }),
      fc.record({ parameters: fc.jsonValue(), ready: fc.jsonValue() }, { requiredKeys: [] }),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(paths, value, async (path, sent) => {
        const status = await post(path, Buffer.from(JSON.stringify(sent)), {
          "content-type": "application/json",
        });
        expect(status).toBeLessThan(500);
      }),
      { numRuns: 600 },
    );
  });
});
