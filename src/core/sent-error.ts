import { HostLostError, type HostLossReason } from "./engine.ts";
import { GatewayError, type ErrorCode } from "./errors.ts";

/** An error on its way between threads: structured clone keeps the words of one, but neither its class nor its fields. */
export type SentError = { readonly message: string; readonly stack?: string | undefined } & (
  | { readonly class: "HostLostError"; readonly reason: HostLossReason }
  | {
      readonly class: "GatewayError";
      readonly code: ErrorCode;
      readonly retryAfterSeconds: number | undefined;
      readonly engine: string | undefined;
      readonly cause: SentError | undefined;
    }
  | { readonly class: "Error" }
);

export function encodeError(thrown: unknown): SentError {
  if (!(thrown instanceof Error)) return { class: "Error", message: String(thrown) };
  const { message, stack } = thrown;
  if (thrown instanceof HostLostError)
    return { class: "HostLostError", message, stack, reason: thrown.reason };
  if (!(thrown instanceof GatewayError)) return { class: "Error", message, stack };
  const { code, retryAfterSeconds, engine, cause } = thrown;
  const sentCause = cause === undefined ? undefined : encodeError(cause);
  return { class: "GatewayError", message, stack, code, retryAfterSeconds, engine, cause: sentCause };
}

export function decodeError(sent: SentError): Error {
  const error = errorOf(sent);
  // Where it was thrown says more than where it came in.
  if (sent.stack !== undefined) error.stack = sent.stack;
  return error;
}

function errorOf(sent: SentError): Error {
  switch (sent.class) {
    case "HostLostError":
      return new HostLostError(sent.reason, sent.message);
    case "GatewayError": {
      const { code, message, retryAfterSeconds, engine, cause } = sent;
      const error = new GatewayError(code, message, {
        ...(cause && { cause: decodeError(cause) }),
        retryAfterSeconds,
        ...(engine !== undefined && { engine }),
      });
      return error;
    }
    case "Error":
      return new Error(sent.message);
    default:
      return sent satisfies never;
  }
}
