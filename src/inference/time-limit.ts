import { GatewayError } from "../core/errors.ts";

/** A request's hard limit and its client's patience as one signal. */
export interface TimeLimit {
  readonly signal: AbortSignal;
  /** Must be called when the request has ended. */
  dispose(): void;
}

export function startTimeLimit(milliseconds: number, client: AbortSignal | undefined): TimeLimit {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(
      new GatewayError(
        "timeout",
        `not answered within ${milliseconds} ms; raise timeoutMs in model.yaml or the request's timeout (microseconds)`,
      ),
    );
  }, milliseconds);
  const leave = () => controller.abort(new GatewayError("unavailable", "the client closed the connection"));
  if (client?.aborted) leave();
  else client?.addEventListener("abort", leave, { once: true });
  return {
    signal: controller.signal,
    dispose() {
      clearTimeout(timer);
      client?.removeEventListener("abort", leave);
    },
  };
}
