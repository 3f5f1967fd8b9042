import { ExportResultCode } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";

/** A collector that is away is told about this often at most. */
const warnEverySeconds = 60;

/** OTLP over HTTP in JSON; batches that could not be sent are counted in the log, never thrown. */
export function createExporter(options: {
  readonly otlpUrl: string;
  readonly clock: Clock;
  readonly log: Log;
}): SpanExporter {
  const { clock, log } = options;
  const url = tracesUrl(options.otlpUrl);
  const sender = new OTLPTraceExporter({ url: url.href, timeoutMillis: 5000 });
  let lost = 0;
  let warnAt = -Infinity;

  return {
    export(spans, done) {
      sender.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) {
          lost += spans.length;
          if (clock.seconds() >= warnAt) {
            // Without user, password and query: they may be secrets.
            const collector = `${url.origin}${url.pathname}`;
            log.warn(
              { collector, lostSpans: lost, reason: result.error?.message },
              "spans could not be sent; check tracing.otlpUrl and the collector",
            );
            warnAt = clock.seconds() + warnEverySeconds;
          }
        }
        done({ code: ExportResultCode.SUCCESS });
      });
    },
    shutdown: () => sender.shutdown(),
  };
}

/** As OTEL_EXPORTER_OTLP_ENDPOINT is understood: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ */
function tracesUrl(otlpUrl: string): URL {
  const url = new URL(otlpUrl);
  if (!/\/v1\/traces\/?$/.test(url.pathname)) url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  return url;
}
