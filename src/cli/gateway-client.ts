import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import { parsed } from "./parsed.ts";

/** A running gateway, asked over HTTP. */
export interface GatewayClient {
  readonly url: string;
  /**
   * GET, or POST with a body.
   * @throws GatewayError with the gateway's own message, or with how to reach one.
   */
  call<S extends z.ZodType>(path: string, answer: S, body?: object): Promise<z.output<S>>;
  /** Status and body, whatever they are. @throws GatewayError when nobody answers. */
  ask(path: string, body?: object): Promise<{ readonly status: number; readonly text: string }>;
  /** The next server-sent event of that name; undefined when there is none to be had. Never rejects. */
  event<S extends z.ZodType>(path: string, name: string, data: S): Promise<z.output<S> | undefined>;
}

export function createGatewayClient({
  url,
  key,
  timeoutSeconds,
}: {
  readonly url: string;
  readonly key: string | undefined;
  readonly timeoutSeconds: number;
}): GatewayClient {
  const authorization = key === undefined ? {} : { authorization: `Bearer ${key}` };

  async function ask(path: string, body?: object): Promise<{ status: number; text: string }> {
    const headers = {
      ...authorization,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    const signal = AbortSignal.timeout(timeoutSeconds * 1000);
    const post = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    try {
      const reply = await fetch(url + path, { headers, signal, ...post });
      return { status: reply.status, text: await reply.text() };
    } catch (cause) {
      throw signal.aborted
        ? new GatewayError(
            "timeout",
            `${url} did not answer ${path} within ${timeoutSeconds} s; see whether it hangs, or give it longer with --timeout`,
            { cause },
          )
        : new GatewayError(
            "unavailable",
            `no gateway answers at ${url} (${reasonOf(cause)}); start one with crosscheck serve, or name another with --url`,
            { cause },
          );
    }
  }

  async function dataOf(path: string, name: string): Promise<string | undefined> {
    const signal = AbortSignal.timeout(timeoutSeconds * 1000);
    const { body } = await fetch(url + path, { headers: authorization, signal });
    let text = "";
    for await (const part of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const events = (text + part).split("\n\n");
      text = events.pop() ?? "";
      const found = events.find((event) => event.split("\n").includes(`event: ${name}`));
      if (found !== undefined) return /^data: (.*)$/m.exec(found)?.[1];
    }
    return undefined;
  }

  return {
    url,
    ask,
    async event(path, name, data) {
      const text = await dataOf(path, name).catch(() => undefined);
      return text === undefined ? undefined : data.safeParse(parsed(text)).data;
    },
    async call(path, answer, body) {
      const { status, text } = await ask(path, body);
      const json = parsed(text);
      if (status >= 400) {
        const error = (json as { error?: unknown } | null | undefined)?.error;
        const reason = typeof error === "string" ? error : "no reason given";
        throw new GatewayError("conflict", `${url} answered ${status}: ${reason}`);
      }
      const result = answer.safeParse(json);
      if (result.success) return result.data;
      throw new GatewayError(
        "conflict",
        `${url} answered ${path} with something that no Crosscheck gateway says; is it one? Name another with --url`,
      );
    },
  };
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
}
