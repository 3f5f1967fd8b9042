/**
 * The one error type that reaches a client. `code` fixes the HTTP status; the message names the thing, the value
 * and the remedy. `cause` is for the log and is never sent.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  /** Seconds a client should wait before it tries again (Retry-After); set for 429 and 503 where known. */
  readonly retryAfterSeconds: number | undefined;
  /** Id of the engine that a request failed on; undefined where none was chosen yet. */
  readonly engine: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; retryAfterSeconds?: number | undefined; engine?: string } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "GatewayError";
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.engine = options.engine;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  /** Any thrown value as a GatewayError; an unknown one becomes `internal` and its text stays in the log. */
  static from(thrown: unknown): GatewayError {
    if (thrown instanceof GatewayError) return thrown;
    return new GatewayError("internal", "internal error; the gateway's log has the details", {
      cause: thrown,
    });
  }

  /** The same error, with the engine that it happened on. */
  static on(engine: string, thrown: unknown): GatewayError {
    const { code, message, cause, retryAfterSeconds } = GatewayError.from(thrown);
    return new GatewayError(code, message, { cause, retryAfterSeconds, engine });
  }
}

export type ErrorCode = keyof typeof errorTable;

/** Every error code with its HTTP status and meaning; docs/errors.md is held equal to it by a test. */
export const errorTable = {
  invalid: { status: 400, meaning: "The request or a tensor in it is wrong; the message says where." },
  unauthenticated: { status: 401, meaning: "No key, or a key that is not in the keys file." },
  forbidden: { status: 403, meaning: "The key lacks the role, or the Origin or Host is foreign." },
  notFound: { status: 404, meaning: "No such model, engine, version, decision or path." },
  conflict: {
    status: 409,
    meaning: "It exists but cannot be done now: an engine that does not load, a refused input.",
  },
  tooLarge: { status: 413, meaning: "The body, or what it unpacks to, is over the limit." },
  unsupportedMediaType: { status: 415, meaning: "A control route was not given application/json." },
  busy: { status: 429, meaning: "The model's queue is full; Retry-After says when to try again." },
  internal: { status: 500, meaning: "A fault of the gateway; its log has the details." },
  engineFailed: { status: 500, meaning: "The engine ran and reported an error on this input." },
  unavailable: {
    status: 503,
    meaning: "Not ready: still loading, draining, or every engine of the model is down.",
  },
  timeout: { status: 504, meaning: "Not answered within the request's or the model's hard limit." },
} as const satisfies Record<string, { status: number; meaning: string }>;
