import type { Cancellation } from "../core/cancellation.ts";
import type { ModelStatistics as Sums } from "../inference/statistics.ts";
import type { IncomingHttpHeaders } from "node:http";
import type { FeedEvent } from "../core/event-feed.ts";
import type { Tensor, TensorSpec } from "../core/tensor.ts";
import type { RequestTrace } from "../tracing/tracing.ts";

/**
 * What the HTTP face needs from the rest of the gateway. `gateway.ts` wires them; a route whose service is absent
 * answers 404 and names it. Every method may throw a GatewayError, which becomes the reply.
 */
export interface Services {
  readonly inference: InferenceService;
  readonly models: ModelsService;
  readonly engines?: EnginesService | undefined;
  readonly switching?: SwitchingService | undefined;
  readonly audit?: AuditService | undefined;
  readonly feedback?: FeedbackService | undefined;
  readonly log?: DecisionLogService | undefined;
  readonly events?: EventsService | undefined;
  readonly metrics?: MetricsService | undefined;
  readonly page?: PageService | undefined;
}

/** The hot path: called once a request, `resolve` first. */
export interface InferenceService {
  /**
   * What the model takes and gives. Synchronous while an engine is warm; a promise during a cold start, which
   * the request's own time limit gives up on.
   * @throws GatewayError `notFound` (unknown, or unloaded by the API), `busy`, `unavailable`.
   */
  resolve(model: string): ModelSignature | Promise<ModelSignature>;
  /** @throws GatewayError `busy`, `unavailable`, `timeout`, `invalid`, `engineFailed`, `notFound` (pinned engine). */
  infer(model: string, request: InferenceRequest): Promise<InferenceReply>;
  /** Begins the request's span; absent where tracing is off. */
  readonly trace?:
    | ((headers: IncomingHttpHeaders, model: string, receivedSeconds: number) => RequestTrace)
    | undefined;
  /** Told once per infer request after its reply was handed to the socket; its errors are logged, never sent. */
  onAnswered?(record: AnswerRecord): void;
}

export interface ModelSignature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Class names for the classification extension, by index. */
  readonly labels?: readonly string[] | undefined;
}

export interface InferenceRequest {
  /** The client's id, or a generated one; feedback refers to it. */
  readonly id: string;
  /** Checked against the signature; `data` may point into the request body and is not changed afterwards. */
  readonly inputs: readonly Tensor[];
  /** Names of the outputs wanted; undefined means all. */
  readonly outputs: readonly string[] | undefined;
  /** `parameters.engine`: any engine of the model, by id; the caller has been allowed to pin. */
  readonly pinnedEngine: string | undefined;
  /** The request's own hard limit, counted from `receivedSeconds`; the model's `timeoutMs` holds beside it. */
  readonly timeoutMs: number | undefined;
  /** Cancelled when the client goes away, or the time is up. */
  readonly cancellation: Cancellation;
  /** Clock.seconds() when the request's headers had been read. */
  readonly receivedSeconds: number;
  /** W3C traceparent of the request's span. */
  readonly traceParent?: string | undefined;
}

export interface InferenceReply {
  /** Id of the engine that answered. */
  readonly engine: string;
  readonly outputs: readonly Tensor[];
  /** Waiting for a free instance, and inside the runtime. */
  readonly queueSeconds: number;
  readonly engineSeconds: number;
}

/** One infer request as the client saw it, for request_duration_seconds, requests_total and the V2 statistics. */
export interface AnswerRecord {
  /** The client's or a generated one; undefined when the request could not be read. */
  readonly id: string | undefined;
  readonly model: string;
  /** The one that answered, or failed; undefined when none was chosen. */
  readonly engine: string | undefined;
  /** The HTTP status sent; 499 when the client had gone before the reply. */
  readonly status: number;
  /** Wall time, milliseconds since the epoch. */
  readonly answeredAtMs: number;
  /** Receipt to reply. */
  readonly seconds: number;
  /** Of the engine's answer; 0 without one. */
  readonly queueSeconds: number;
  readonly engineSeconds: number;
  /** Receipt until inference began: body, cold start, decoding; undefined when it did not begin. */
  readonly receiptSeconds: number | undefined;
  /** The pieces outside the engine, for the V2 statistics' compute_input and compute_output. */
  readonly decodeSeconds: number;
  readonly encodeSeconds: number;
  readonly trace: RequestTrace | undefined;
}

type Awaitable<T> = T | Promise<T>;

/** Metadata and the repository API. Unknown names throw `notFound`. */
interface ModelsService {
  /** Start-up loading has ended and every model is warm, or failed with a reason. */
  ready(): Readiness;
  modelReady(model: string): Readiness;
  /** Loads a cold model where its tensors are not known yet. */
  describe(model: string): Awaitable<ModelDescription>;
  /** Every model of the repository. */
  index(): Awaitable<readonly IndexEntry[]>;
  /** Load, or reload when its folder changed; resolves when it is ready. @throws `conflict` when it cannot. */
  load(model: string): Promise<void>;
  /** Resolves when requests in flight have ended and its hosts are gone. */
  unload(model: string): Promise<void>;
  /** Of one model, or of all without a name. */
  statistics(model?: string): readonly ModelStatistics[];
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, and when to look again. */
  readonly reason?: string | undefined;
}

export interface ModelDescription extends ModelSignature {
  readonly name: string;
  /** Of the active engine: `onnxruntime`, `autotvm`, ...; V2's platform is `crosscheck_<compiler>`. */
  readonly compiler: string;
  /** Most instances that may run at once. */
  readonly instances: number;
  readonly device: "cpu" | "gpu";
}

interface IndexEntry {
  readonly name: string;
  readonly state: "READY" | "LOADING" | "UNLOADING" | "UNAVAILABLE";
  readonly reason: string;
}

/** Triton's statistics extension. */
export interface ModelStatistics extends Sums {
  readonly name: string;
}

interface EnginesService {
  list(model: string): Awaitable<EngineList>;
}

export interface EngineList {
  readonly model: string;
  readonly active: string;
  readonly reference: string | null;
  readonly engines: readonly {
    readonly id: string;
    readonly state: string;
    readonly reason: string | null;
    readonly role: string;
    readonly compiler: string;
    readonly precision: string;
    readonly artifactSha256: string;
  }[];
}

/** Both resolve after the log line is on disk and the pointer has moved. */
interface SwitchingService {
  switch(model: string, engine: string, reason: string, actor: string): Promise<SwitchResult>;
  rollback(model: string, reason: string, actor: string): Promise<SwitchResult>;
}

interface SwitchResult {
  readonly model: string;
  readonly from: string;
  readonly to: string;
  /** The decision as it stands in the log. */
  readonly decision: unknown;
}

type ReportFormat = "html" | "md" | "json";

interface AuditService {
  verdicts(model: string): Awaitable<AuditView>;
  report(model: string, format: ReportFormat): Awaitable<string>;
}

export interface AuditView {
  readonly model: string;
  readonly reference: string | null;
  readonly candidates: readonly {
    readonly engine: string;
    readonly state: string;
    readonly verdicts: readonly {
      readonly rule: string;
      readonly verdict: "pass" | "fail" | "inconclusive";
      readonly value: number | null;
      readonly threshold: number;
      readonly lower: number | null;
      readonly upper: number | null;
      readonly have: number;
      readonly need: number | null;
      readonly alpha: number;
    }[];
  }[];
}

interface FeedbackService {
  /** @throws GatewayError `notFound` when the id is no longer remembered, `invalid`, `conflict` without classes. */
  label(model: string, id: string, label: string | number): Awaitable<void>;
}

interface DecisionLogService {
  /** Entries after number `after`, oldest first, at most `limit`. */
  read(
    after: number,
    limit: number,
  ): Awaitable<{ readonly entries: readonly unknown[]; readonly next: number }>;
}

export interface EventsService {
  /** Calls `listener` for every remembered event after `lastEventId`, then for new ones; returns how to stop. */
  subscribe(listener: (event: FeedEvent) => void, lastEventId?: string): () => void;
}

interface MetricsService {
  /** @param accept the request's Accept header, to choose between Prometheus' two text formats */
  scrape(accept: string | undefined): {
    readonly contentType: string;
    readonly chunks: AsyncIterable<Uint8Array>;
  };
}

export interface PageService {
  /** A file of the live page by its name, `index.html` the document itself; undefined when there is none. */
  file(name: string): PageFile | undefined;
}

export interface PageFile {
  readonly contentType: string;
  /** Strong, with its quotes. */
  readonly etag: string;
  readonly body: Uint8Array;
  /** The same, gzip. */
  readonly gzip: Uint8Array;
}
