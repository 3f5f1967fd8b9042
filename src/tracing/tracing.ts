import type { IncomingHttpHeaders } from "node:http";
import {
  type Attributes,
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { parseTraceParent, W3CTraceContextPropagator } from "@opentelemetry/core";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  SamplingDecision,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import { createExporter } from "./exporter.ts";
import { createWallTime } from "./wall-time.ts";

/**
 * Spans of requests and shadow runs, sent by OTLP over HTTP. Spans are made after the fact from times that the gateway
 * takes anyway; this module and OpenTelemetry behind it are loaded only where `tracing.otlpUrl` is set.
 */
export interface Tracing {
  /** Begins the span of a request, under the caller's span if its `traceparent` names one; its sampled flag holds. */
  readonly begin: (headers: IncomingHttpHeaders, model: string, receivedSeconds: number) => RequestTrace;
  /** Queue and engine of an answered request. */
  served(served: TracedServing): void;
  /** The runs that a request had in its shadow: a trace of their own, each span linked to the request's. */
  shadowed(traceParent: string | undefined, model: string, runs: readonly TracedRun[]): void;
  /** Sends what is left, within a few seconds. */
  close(): Promise<void>;
}

export interface RequestTrace {
  /** W3C traceparent of the request's span: returned to the client, and what shadow runs are linked to. */
  readonly traceParent: string;
  /** Undefined when the trace is not recorded, so that nobody is sent to look for it. */
  readonly recordedTraceId: string | undefined;
  end(answer: TracedAnswer): void;
}

/** All times of this file are seconds of the gateway's clock. */
export interface TracedAnswer {
  readonly id: string | undefined;
  readonly engine: string | undefined;
  readonly status: number;
  readonly seconds: number;
  /** Receipt until inference began; undefined when it did not. */
  readonly receiptSeconds: number | undefined;
  readonly encodeSeconds: number;
}

export interface TracedServing {
  readonly traceParent: string | undefined;
  readonly engine: string;
  readonly answeredSeconds: number;
  readonly queueSeconds: number;
  readonly hostSeconds: number;
  readonly engineSeconds: number;
}

export interface TracedRun {
  readonly engine: string;
  readonly role: "control" | "shadow";
  readonly startedSeconds: number;
  readonly endedSeconds: number;
  readonly engineSeconds: number;
  /** A live request was answered meanwhile. */
  readonly overlapped: boolean;
  readonly error: Error | undefined;
}

export function createTracing(options: {
  /** Where the collector listens; `/v1/traces` is added unless the path ends so. */
  readonly otlpUrl: string;
  /** Share of the traces that begin here that is recorded. */
  readonly sampleRatio: number;
  readonly version: string;
  readonly random: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): Tracing {
  const { otlpUrl, sampleRatio, version, random, clock, log } = options;
  const wallMs = createWallTime(clock);
  const propagator = new W3CTraceContextPropagator();
  const recorded = { decision: SamplingDecision.RECORD_AND_SAMPLED };
  const left = { decision: SamplingDecision.NOT_RECORD };
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": "crosscheck", "service.version": version }),
    sampler: new ParentBasedSampler({
      root: {
        // Spans with links are shadow runs; they are begun for recorded requests only.
        shouldSample: (_context, _traceId, _name, _kind, _attributes, links) =>
          links.length > 0 || random() < sampleRatio ? recorded : left,
        toString: () => `${sampleRatio} of root spans`,
      },
    }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: createExporter({ otlpUrl, clock, log }),
        maxQueueSize: 8192,
        maxExportBatchSize: 1024,
        scheduledDelayMillis: 1000,
        exportTimeoutMillis: 10_000,
      }),
    ],
  });
  const tracer = provider.getTracer("crosscheck", version);

  /** A span with both its ends; returns the context that its children begin in. */
  function span(
    name: string,
    [from, to]: readonly [fromSeconds: number, toSeconds: number],
    details: { attributes?: Attributes; parent: Context; linked?: SpanContext; error?: Error | undefined },
  ): Context {
    const { attributes = {}, parent, linked, error } = details;
    const links = linked ? [{ context: linked }] : [];
    const made = tracer.startSpan(name, { startTime: wallMs(from), attributes, links }, parent);
    if (error) made.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    made.end(wallMs(to));
    return trace.setSpan(parent, made);
  }

  function endRequest(request: Span, received: number, answer: TracedAnswer): void {
    const { id, engine, status, seconds, receiptSeconds, encodeSeconds } = answer;
    const ended = received + seconds;
    const parent = trace.setSpan(ROOT_CONTEXT, request);
    span("receipt", [received, receiptSeconds === undefined ? ended : received + receiptSeconds], { parent });
    if (status < 400) span("reply", [ended - encodeSeconds, ended], { parent });
    request.setAttributes({ "http.response.status_code": status });
    if (id !== undefined) request.setAttribute("crosscheck.request_id", id);
    if (engine !== undefined) request.setAttribute("crosscheck.engine", engine);
    // OpenTelemetry's rule for servers: what the client did wrong is no error of ours.
    if (status >= 500) request.setStatus({ code: SpanStatusCode.ERROR });
    request.end(wallMs(ended));
  }

  return {
    begin(headers, model, receivedSeconds) {
      const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
      const attributes = { "http.request.method": "POST", "http.route": route, "crosscheck.model": model };
      const startTime = wallMs(receivedSeconds);
      const request = tracer.startSpan(
        `POST ${route}`,
        { kind: SpanKind.SERVER, startTime, attributes },
        parent,
      );
      const context = request.spanContext();
      return {
        traceParent: traceParentOf(context),
        recordedTraceId: request.isRecording() ? context.traceId : undefined,
        end: (answer) => endRequest(request, receivedSeconds, answer),
      };
    },
    served({ traceParent, engine, answeredSeconds, queueSeconds, hostSeconds, engineSeconds }) {
      const request = recordedSpan(traceParent);
      if (!request) return;
      const parent = trace.setSpanContext(ROOT_CONTEXT, request);
      const began = answeredSeconds - hostSeconds;
      span("queue", [began - queueSeconds, began], { parent });
      const attributes = { "crosscheck.engine": engine, "crosscheck.engine_seconds": engineSeconds };
      span("engine", [began, answeredSeconds], { parent, attributes });
    },
    shadowed(traceParent, model, runs) {
      const linked = recordedSpan(traceParent);
      const [first] = runs;
      if (!linked || !first) return;
      const attributes = { "crosscheck.model": model };
      const whole = [first.startedSeconds, (runs.at(-1) ?? first).endedSeconds] as const;
      const parent = span("shadow", whole, { parent: ROOT_CONTEXT, attributes, linked });
      for (const { engine, role, startedSeconds, endedSeconds, engineSeconds, overlapped, error } of runs) {
        const attributes: Attributes = {
          "crosscheck.engine": engine,
          "crosscheck.role": role,
          "crosscheck.overlapped": overlapped,
        };
        if (!error) attributes["crosscheck.engine_seconds"] = engineSeconds;
        span("shadow run", [startedSeconds, endedSeconds], { parent, attributes, linked, error });
      }
    },
    close: () => provider.shutdown(),
  };
}

const route = "/v2/models/{model}/infer";

/** https://www.w3.org/TR/trace-context/#traceparent-header */
function traceParentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, "0")}`;
}

function recordedSpan(traceParent: string | undefined): SpanContext | undefined {
  const context = traceParent === undefined ? null : parseTraceParent(traceParent);
  return context && (context.traceFlags & TraceFlags.SAMPLED) !== 0 ? context : undefined;
}
