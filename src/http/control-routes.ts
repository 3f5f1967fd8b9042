import type { z } from "zod";
import type { Access } from "./access.ts";
import { streamEvents } from "./events.ts";
import { sendPageFile } from "./page-file.ts";
import type { Route } from "./route.ts";
import { json, text } from "./route.ts";
import * as schemas from "./schemas.ts";
import type { Services } from "./services.ts";

/** Engines, evidence, decisions, switching, the live page and its login. */
export function createControlRoutes(services: Services, access: Access): Route[] {
  const { engines, switching, audit, feedback, log, events, metrics, page } = services;
  const asJson = (schema: z.ZodType, status = 200): Route["reply"] => ({
    status,
    contentType: "application/json",
    schema,
  });
  const shared = { tag: "control", role: "control" } as const;
  return [
    {
      ...shared,
      method: "get",
      path: "/v1/models/:model/engines",
      summary: "The model's engines, which one is active, which is the reference",
      service: "engines",
      reply: asJson(schemas.engines),
      handle: async (call) => json(await engines?.list(call.model)),
    },
    {
      ...shared,
      method: "get",
      path: "/v1/models/:model/audit",
      summary: "Verdicts on every candidate, with value, bounds and samples",
      service: "audit",
      reply: asJson(schemas.audit),
      handle: async (call) => json(await audit?.verdicts(call.model)),
    },
    {
      ...shared,
      method: "get",
      path: "/v1/models/:model/report",
      summary: "The report from live evidence",
      service: "audit",
      query: schemas.reportQuery,
      reply: { status: 200, contentType: "text/html" },
      handle: async (call) => {
        const { format } = call.query as z.output<typeof schemas.reportQuery>;
        const body = (await audit?.report(call.model, format)) ?? "";
        return text(body, reportTypes[format], { "content-security-policy": documentPolicy });
      },
    },
    {
      ...shared,
      method: "post",
      path: "/v1/models/:model/switch",
      summary: "Make another engine active",
      service: "switching",
      body: schemas.switchRequest,
      bodyType: "json",
      reply: asJson(schemas.switchResult),
      handle: async ({ model, body, caller }) => {
        const { engine, reason } = body as z.output<typeof schemas.switchRequest>;
        return json(await switching?.switch(model, engine, reason, caller.name));
      },
    },
    {
      ...shared,
      method: "post",
      path: "/v1/models/:model/rollback",
      summary: "Go back to the engine that was active before",
      service: "switching",
      body: schemas.rollbackRequest,
      bodyType: "json",
      reply: asJson(schemas.switchResult),
      handle: async ({ model, body, caller }) => {
        const { reason } = body as z.output<typeof schemas.rollbackRequest>;
        return json(await switching?.rollback(model, reason, caller.name));
      },
    },
    {
      ...shared,
      method: "post",
      path: "/v1/models/:model/feedback",
      summary: "The truth about an earlier request",
      role: "infer",
      service: "feedback",
      body: schemas.feedbackRequest,
      bodyType: "json",
      reply: asJson(schemas.accepted, 202),
      handle: async ({ model, body }) => {
        const { id, label } = body as z.output<typeof schemas.feedbackRequest>;
        await feedback?.label(model, id, label);
        return json({ accepted: true }, 202);
      },
    },
    {
      ...shared,
      method: "get",
      path: "/v1/log",
      summary: "Decisions, oldest first",
      service: "log",
      query: schemas.logQuery,
      reply: asJson(schemas.log),
      handle: async (call) => {
        const { after, limit } = call.query as z.output<typeof schemas.logQuery>;
        return json(await log?.read(after, limit));
      },
    },
    {
      ...shared,
      method: "get",
      path: "/v1/events",
      summary: "Server-sent events: state, metrics, verdict, decision",
      tag: "observe",
      service: "events",
      reply: { status: 200, contentType: "text/event-stream" },
      handle: ({ request, response }) => {
        if (events) streamEvents(events, request, response);
        return { type: "written" };
      },
    },
    {
      method: "get",
      path: "/metrics",
      summary: "Prometheus metrics",
      tag: "observe",
      role: "metrics",
      service: "metrics",
      reply: { status: 200, contentType: "text/plain" },
      handle: async ({ request, response }) => {
        if (metrics) {
          // In chunks: in one string, megabytes would hold the event loop for 10 ms.
          const { contentType, chunks } = metrics.scrape(request.headers.accept);
          response.writeHead(200, { "content-type": contentType });
          for await (const chunk of chunks) response.write(chunk);
          response.end();
        }
        return { type: "written" };
      },
    },
    {
      method: "get",
      path: "/",
      summary: "The live page",
      tag: "observe",
      role: undefined,
      service: "page",
      reply: { status: 200, contentType: "text/html" },
      handle: ({ request, response }) => sendPageFile(page, "index.html", request, response),
    },
    {
      method: "get",
      path: "/page/:file",
      summary: "Styles, modules and the chart library of the live page",
      tag: "observe",
      role: undefined,
      service: "page",
      reply: { status: 200, contentType: "application/octet-stream" },
      handle: ({ request, response }) => {
        const name = (request.url ?? "").replace(/^.*\/page\/|\?.*$/g, "");
        return sendPageFile(page, name, request, response);
      },
    },
    {
      method: "post",
      path: "/v1/login",
      summary: "Trade a key for a cookie, for the live page",
      tag: "access",
      role: undefined,
      service: undefined,
      body: schemas.loginRequest,
      bodyType: "json",
      reply: asJson(schemas.caller),
      handle: ({ request, body }) => {
        const { key } = body as z.output<typeof schemas.loginRequest>;
        const { caller, cookie } = access.login(request.headers, key);
        return json(
          { name: caller.name, roles: caller.roles },
          200,
          cookie === undefined ? {} : { "set-cookie": cookie },
        );
      },
    },
    {
      method: "post",
      path: "/v1/logout",
      summary: "End the cookie's session",
      tag: "access",
      role: undefined,
      service: undefined,
      bodyType: "json",
      reply: { status: 200, contentType: "application/json" },
      handle: ({ request }) => json({}, 200, { "set-cookie": access.logout(request.headers) }),
    },
  ];
}

const reportTypes = {
  html: "text/html; charset=utf-8",
  md: "text/markdown; charset=utf-8",
  json: "application/json",
} as const;

/** A report is one document, with its scripts and pictures inside; nothing foreign is loaded. */
const documentPolicy =
  "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
  "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
