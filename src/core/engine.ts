import type { Cancellation } from "./cancellation.ts";
import type { Tensor, TensorSpec } from "./tensor.ts";

/** One inference on one engine. */
export interface EngineRequest {
  readonly inputs: readonly Tensor[];
  /** Names of the outputs wanted; absent means all, in the engine's order. */
  readonly outputs?: readonly string[] | undefined;
  /** Ends the wait (hard limit, client gone), never the engine's run: its slot frees when the host answers. */
  readonly cancellation?: Cancellation | undefined;
}

export interface EngineResult {
  readonly outputs: readonly Tensor[];
  /** Inside the runtime, as the host measured it. */
  readonly engineSeconds: number;
  /** On the device (CUDA events), where the host measures it. */
  readonly deviceSeconds: number | undefined;
  /** Waiting for a free slot of an instance. */
  readonly queueSeconds: number;
  /** The gateway's time around the host: tensors written, frame there, run, frame back, tensors read. */
  readonly hostSeconds: number;
  /** Which host process answered. */
  readonly instance: number;
}

/** What a host tells about the engine it has loaded. */
export interface EngineInfo {
  readonly runtime: { readonly name: string; readonly version: string };
  readonly device: {
    readonly kind: string;
    readonly name: string;
    /** Of a GPU that several processes use: whether they do at once (NVIDIA's MPS) instead of in turns. */
    readonly mps?: boolean | undefined;
  };
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** Whether processes may have its device one after the other, each until it is switched to the next: a GPU without MPS. */
export function isInTurns({ device }: Pick<EngineInfo, "device">): boolean {
  return device.kind === "cuda" && device.mps !== true;
}

/** Whether several of these engines are known to have a GPU so. */
export function shareInTurns(engines: readonly Pick<EngineInfo, "device">[]): boolean {
  return engines.filter(({ device }) => device.kind === "cuda" && device.mps === false).length > 1;
}

/** An engine that answers: a pool of host processes, an inline runtime, or a test's own. */
export interface Runner {
  /**
   * @throws HostLostError when the host died, hung or broke the protocol; the request may be tried elsewhere.
   * @throws GatewayError `invalid` or `engineFailed` when the engine refused the input.
   */
  infer(request: EngineRequest): Promise<EngineResult>;
}

/** The host went away under a request. The request itself is whole and may be moved. */
export class HostLostError extends Error {
  readonly reason: HostLossReason;
  constructor(reason: HostLossReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "HostLostError";
    this.reason = reason;
  }
}

/** Bounded set: it is a metric label. */
export type HostLossReason = "exited" | "hung" | "garbage" | "unavailable";
