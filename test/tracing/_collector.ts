import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** A span as OTLP's JSON encoding has it: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding */
export interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { key: string; value: Record<string, unknown> }[];
  readonly links: readonly { traceId: string; spanId: string }[];
  readonly status: { code: number; message?: string };
}

/** A small OTLP/HTTP receiver: takes POST /v1/traces, keeps the spans. */
export async function openCollector(): Promise<{
  readonly url: string;
  readonly spans: OtlpSpan[];
  readonly resources: unknown[];
  /** Answered instead of 200. */
  status: number;
  readonly posts: number;
  close(): Promise<void>;
}> {
  const spans: OtlpSpan[] = [];
  const resources: unknown[] = [];
  const collector = { status: 200, posts: 0 };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    collector.posts += 1;
    const known = request.url === "/v1/traces" && request.headers["content-type"] === "application/json";
    const status = known ? collector.status : 404;
    if (status === 200) {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString()) as {
        resourceSpans: { resource: unknown; scopeSpans: { spans: OtlpSpan[] }[] }[];
      };
      for (const { resource, scopeSpans } of resourceSpans) {
        resources.push(resource);
        for (const scope of scopeSpans) spans.push(...scope.spans);
      }
    }
    response.writeHead(status, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    resources,
    get status() {
      return collector.status;
    },
    set status(status) {
      collector.status = status;
    },
    get posts() {
      return collector.posts;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export function attribute({ attributes }: OtlpSpan, key: string): unknown {
  const value = attributes.find((each) => each.key === key)?.value;
  return value && Object.values(value)[0];
}
