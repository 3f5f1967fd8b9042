import { contentTypes } from "./exposition.ts";
import type { Metrics } from "./metrics.ts";
import { negotiate } from "./negotiate.ts";

/** What GET /metrics answers with; access is the HTTP layer's. */
export interface MetricsService {
  /** @param accept the request's Accept header. */
  scrape(accept: string | undefined): Scrape;
}

interface Scrape {
  readonly contentType: string;
  /** UTF-8 text; the event loop turns between chunks. Read it once, or call `text`. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** The whole of it. Megabytes in one string: for tests and small gateways. */
  text(): Promise<string>;
}

export function createMetricsService({ metrics }: { readonly metrics: Metrics }): MetricsService {
  return {
    scrape(accept) {
      const format = negotiate(accept);
      const chunks = metrics.expose(format);
      return {
        contentType: contentTypes[format],
        chunks,
        async text() {
          const parts: Uint8Array[] = [];
          for await (const chunk of chunks) parts.push(chunk);
          return Buffer.concat(parts).toString();
        },
      };
    },
  };
}
