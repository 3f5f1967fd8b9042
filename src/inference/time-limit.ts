import type { Cancellation } from "../core/cancellation.ts";
import { GatewayError } from "../core/errors.ts";

/** Cancels a request that is not answered in time. The returned function must be called when it has ended. */
export function startTimeLimit(cancellation: Cancellation, milliseconds: number): () => void {
  const timer = setTimeout(() => {
    cancellation.cancel(
      new GatewayError(
        "timeout",
        `not answered within ${milliseconds} ms; raise timeoutMs in model.yaml or the request's timeout (microseconds)`,
      ),
    );
  }, milliseconds);
  return () => clearTimeout(timer);
}
