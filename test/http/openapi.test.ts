import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { createAccess } from "../../src/http/access.ts";
import { createApp } from "../../src/http/app.ts";
import type { HttpServer } from "../../src/http/listen.ts";
import { createStub, start } from "./_stub.ts";

interface Operation {
  readonly operationId: string;
  readonly parameters: readonly { name: string; in: string }[];
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

let server: HttpServer;
let document: Document;

beforeAll(async () => {
  server = await start(createStub());
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});
afterAll(() => server.close({ drainMs: 0 }));

function operations(): { method: string; path: string; operation: Operation }[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  );
}

describe("/openapi.json", () => {
  it("is OpenAPI 3.1 by its own validator", async () => {
    const result = await new Validator().validate(
      structuredClone(document) as unknown as Record<string, object>,
    );
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
    expect(document.openapi).toBe("3.1.0");
  });

  it("holds every route of the app, and nothing else", () => {
    const clock = systemClock;
    const access = createAccess({
      keysFile: undefined,
      host: "127.0.0.1",
      tls: false,
      clock,
      log: silentLog,
    });
    const { app } = createApp({ services: createStub().services, access, version: "1", log: silentLog });
    const registered = app.routes
      .filter(({ method }) => method !== "ALL")
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    const described = operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(described.sort()).toEqual([...new Set(registered)].sort());
  });

  it("holds the routes of the public face", () => {
    const described = new Set(operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`));
    for (const route of [
      "GET /v2",
      "GET /v2/health/live",
      "GET /v2/health/ready",
      "GET /v2/models/{model}",
      "GET /v2/models/{model}/versions/{version}",
      "GET /v2/models/{model}/ready",
      "GET /v2/models/{model}/config",
      "GET /v2/models/{model}/stats",
      "GET /v2/models/stats",
      "POST /v2/models/{model}/infer",
      "POST /v2/models/{model}/versions/{version}/infer",
      "POST /v2/repository/index",
      "POST /v2/repository/models/{model}/load",
      "POST /v2/repository/models/{model}/unload",
      "GET /v1/models/{model}/engines",
      "GET /v1/models/{model}/audit",
      "GET /v1/models/{model}/report",
      "POST /v1/models/{model}/switch",
      "POST /v1/models/{model}/rollback",
      "POST /v1/models/{model}/feedback",
      "GET /v1/log",
      "GET /v1/events",
      "GET /metrics",
      "GET /openapi.json",
      "GET /",
      "POST /v1/login",
    ]) {
      expect([route, described.has(route)]).toEqual([route, true]);
    }
  });

  it("names each operation once and describes every path parameter", () => {
    const ids = operations().map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, operation } of operations()) {
      const inPath = operation.parameters
        .filter((parameter) => parameter.in === "path")
        .map(({ name }) => name);
      expect(inPath).toEqual([...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
      expect(Object.keys(operation.responses)).toContain("default");
    }
  });
});
