import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Context } from "hono";
import { Hono } from "hono";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { checkValue } from "../core/yaml-file.ts";
import { modelVersion } from "../protocol/bodies.ts";
import type { Access } from "./access.ts";
import { readBody } from "./body.ts";
import { createControlRoutes } from "./control-routes.ts";
import { sendBody, sendError } from "./errors.ts";
import { openApi } from "./openapi.ts";
import type { Reply, Route } from "./route.ts";
import { json, pathsOf } from "./route.ts";
import type { Services } from "./services.ts";
import { createV2Routes } from "./v2-routes.ts";

type Bindings = { Bindings: HttpBindings };

export interface AppOptions {
  readonly services: Services;
  readonly access: Access;
  /** Crosscheck's version, as /v2 and OpenAPI show it. */
  readonly version: string;
  readonly log: Log;
}

/** Every route but infer, which is answered before it (infer.ts). */
export function createApp(options: AppOptions): { app: Hono<Bindings>; routes: readonly Route[] } {
  const { services, access, version, log } = options;
  const routes: Route[] = [...createV2Routes(services, version), ...createControlRoutes(services, access)];
  routes.push({
    method: "get",
    path: "/openapi.json",
    summary: "This description",
    tag: "observe",
    role: undefined,
    service: undefined,
    reply: { status: 200, contentType: "application/json" },
    handle: () => json(document),
  });
  const document = openApi(routes, version);

  const app = new Hono<Bindings>();
  for (const route of routes) {
    for (const path of pathsOf(route)) app.on(route.method.toUpperCase(), path, (c) => answer(route, c));
  }
  for (const [path, allow] of methodsByPath(routes)) {
    app.all(path, (c) => respond(c.env, wrongMethod(c.req.method, c.req.path, allow)));
  }
  app.notFound((c) => {
    throw new GatewayError(
      "notFound",
      `there is no ${c.req.method} ${c.req.path}; /openapi.json lists the routes`,
    );
  });
  app.onError((thrown, c) => {
    const error = GatewayError.from(thrown);
    if (error.code === "internal") log.error({ err: error.cause ?? error }, "request failed");
    sendError(c.env.outgoing, error);
    return RESPONSE_ALREADY_SENT;
  });

  async function answer(route: Route, c: Context<Bindings>): Promise<Response> {
    const { incoming, outgoing } = c.env;
    const { role, service, handle } = route;
    const caller =
      role === undefined ? { name: "anonymous", roles: [] } : access.authorise(incoming.headers, role);
    if (service !== undefined && services[service] === undefined) {
      throw new GatewayError(
        "notFound",
        `this gateway runs without "${service}"; ${c.req.path} is not offered`,
      );
    }
    const { model = "", version } = c.req.param() as Record<string, string | undefined>;
    checkName(model, version, c.req.path);
    // Infer with a plain name has been answered before the app (infer.ts); what comes here is named otherwise.
    if (!handle) throw unknownName(c.req.path);
    checkContentType(route, incoming.headers["content-type"]);
    const query: unknown = route.query && checkValue(c.req.query(), route.query, "query");
    const body: unknown = route.bodyType && (await readJson(route, incoming));
    return respond(
      c.env,
      await handle({ model, query, body, caller, request: incoming, response: outgoing }),
    );
  }

  return { app, routes };
}

const controlBody = { bytes: 64 * 1024, remedy: "no request of this route needs as much" };

async function readJson(route: Route, incoming: HttpBindings["incoming"]): Promise<unknown> {
  const bytes = await readBody(incoming, controlBody);
  let value: unknown = {};
  if (bytes.byteLength > 0) {
    try {
      value = JSON.parse(Buffer.from(bytes).toString("utf8"));
    } catch (error) {
      throw new GatewayError(
        "invalid",
        `the body is not JSON: ${error instanceof Error ? error.message : ""}`,
      );
    }
  }
  return route.body ? checkValue(value, route.body, "body") : value;
}

/**
 * Pages of other sites may send forms and plain text without asking; JSON they may not. A request without a type
 * comes from a program: V2's repository routes take it.
 */
function checkContentType(route: Route, contentType: string | undefined): void {
  if (!route.bodyType) return;
  const given = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (given === "application/json" || (route.bodyType === "v2" && given === undefined)) return;
  throw new GatewayError(
    "unsupportedMediaType",
    `Content-Type is ${given === undefined ? "missing" : `"${given}"`}; send application/json`,
  );
}

function checkName(model: string, version: string | undefined, path: string): void {
  if (model !== "" && !/^[A-Za-z0-9._-]{1,64}$/.test(model)) throw unknownName(path);
  if (version !== undefined && version !== modelVersion) {
    throw new GatewayError(
      "notFound",
      `model "${model}" has no version "${version}"; the only one is ${modelVersion}`,
    );
  }
}

function unknownName(path: string): GatewayError {
  return new GatewayError(
    "notFound",
    `there is no model of the name in ${path}; names are 1 to 64 letters, digits, ".", "_" or "-", not encoded`,
  );
}

function methodsByPath(routes: readonly Route[]): Map<string, string> {
  const methods = new Map<string, string>();
  for (const route of routes) {
    for (const path of pathsOf(route)) {
      const allowed = route.method === "get" ? "GET, HEAD" : "POST";
      const known = methods.get(path);
      methods.set(path, known === undefined ? allowed : `${known}, ${allowed}`);
    }
  }
  return methods;
}

function wrongMethod(method: string, path: string, allow: string): Reply {
  return json({ error: `${path} does not take ${method}; it takes ${allow}` }, 405, { allow });
}

function respond({ outgoing }: HttpBindings, reply: Reply): Response {
  if (reply.type === "body") sendBody(outgoing, reply);
  return RESPONSE_ALREADY_SENT;
}
