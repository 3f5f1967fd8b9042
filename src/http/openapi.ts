import { z } from "zod";
import { errorTable } from "../core/errors.ts";
import type { Route } from "./route.ts";
import { pathsOf } from "./route.ts";
import * as schemas from "./schemas.ts";

/** The OpenAPI 3.1 document of these routes. */
export function openApi(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    for (const pattern of pathsOf(route)) {
      const path = pattern.replaceAll(/:(\w+)/g, "{$1}");
      paths[path] = { ...paths[path], [route.method]: operation(route, pattern) };
    }
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Crosscheck",
      version,
      description: "Open Inference Protocol (V2) with Triton's extensions, and Crosscheck's control routes.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "A key of the keys file." },
        cookie: { type: "apiKey", in: "cookie", name: "crosscheck_session" },
      },
    },
  };
}

function operation(route: Route, pattern: string): object {
  const names = [...pattern.matchAll(/:(\w+)/g)].map(([, name]) => name ?? "");
  const { reply, body, bodyType, role } = route;
  return {
    operationId: operationId(route.method, pattern),
    summary: route.summary,
    tags: [route.tag],
    security: role === undefined ? [{}] : [{}, { bearer: [role] }, { cookie: [role] }],
    parameters: [...names.map(pathParameter), ...queryParameters(route.query)],
    ...(body && {
      requestBody: {
        required: bodyType === "json",
        content: { "application/json": { schema: jsonSchema(body, "input") } },
      },
    }),
    responses: {
      [reply.status]: {
        description: "Done",
        content: { [reply.contentType]: reply.schema ? { schema: jsonSchema(reply.schema, "output") } : {} },
      },
      default: {
        description: `An error; codes: ${Object.entries(errorTable)
          .map(([code, { status }]) => `${status} ${code}`)
          .join(", ")}`,
        content: { "application/json": { schema: jsonSchema(schemas.error, "output") } },
      },
    },
  };
}

function operationId(method: string, pattern: string): string {
  const words = pattern.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  return [method, ...words].join("_");
}

function pathParameter(name: string): object {
  const schema =
    name === "version"
      ? { type: "string", const: "1" }
      : { type: "string", pattern: "^[A-Za-z0-9._-]{1,64}$" };
  return { name, in: "path", required: true, schema };
}

function queryParameters(query: z.ZodObject | undefined): object[] {
  if (!query) return [];
  return Object.entries(query.shape).map(([name, schema]) => ({
    name,
    in: "query",
    required: false,
    schema: jsonSchema(schema as z.ZodType, "input"),
  }));
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): object {
  // OpenAPI 3.1 takes JSON Schema 2020-12 as it is; the dialect is the document's.
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io }) as Record<string, unknown>;
  return rest;
}
