import type { IncomingMessage, ServerResponse } from "node:http";
import type { z } from "zod";
import type { Caller } from "./access.ts";
import type { Role } from "./keys-file.ts";
import type { Services } from "./services.ts";

/** One route as data: the app registers it, OpenAPI describes it, a test compares the two. */
export interface Route {
  readonly method: "get" | "post";
  /** Hono's pattern; `[/versions/:version]` marks an optional part. */
  readonly path: string;
  readonly summary: string;
  readonly tag: "inference" | "models" | "control" | "observe" | "access";
  /** undefined: for everyone. */
  readonly role: Role | undefined;
  /** Answered 404 while this service is absent. */
  readonly service: keyof Services | undefined;
  readonly query?: z.ZodObject | undefined;
  readonly body?: z.ZodType | undefined;
  /** `json`: the body must be application/json. `v2`: no Content-Type will do, as V2 clients send none. */
  readonly bodyType?: "json" | "v2" | undefined;
  readonly reply: {
    readonly status: number;
    readonly contentType: string;
    readonly schema?: z.ZodType | undefined;
  };
  /** Absent for infer, which is answered before the app (infer.ts). */
  readonly handle?: ((call: Call) => Reply | Promise<Reply>) | undefined;
}

interface Call {
  readonly model: string;
  readonly query: unknown;
  readonly body: unknown;
  readonly caller: Caller;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** A body with its headers, or word that the handler has written the response itself. */
export type Reply =
  | {
      readonly type: "body";
      readonly status: number;
      readonly headers: Record<string, string>;
      readonly body: string;
    }
  | { readonly type: "written" };

export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Reply {
  return {
    type: "body",
    status,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(value),
  };
}

export function text(body: string, contentType: string, headers: Record<string, string> = {}): Reply {
  return { type: "body", status: 200, headers: { "content-type": contentType, ...headers }, body };
}

/** The paths that a pattern with an optional part stands for. */
export function pathsOf(route: Pick<Route, "path">): string[] {
  const match = /^(.*)\[(.*)\](.*)$/.exec(route.path);
  if (!match) return [route.path];
  const [, before, optional, after] = match;
  return [`${before}${after}`, `${before}${optional}${after}`];
}
