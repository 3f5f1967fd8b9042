import type { EngineInfo, EngineRequest, EngineResult } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import { byteSize, type Tensor } from "../core/tensor.ts";
import { shapeMisfit } from "./fit.ts";

/** A request on its way through a pool. */
export interface Job {
  /** In the engine's order. */
  readonly inputs: readonly Tensor[];
  /** Indexes in the engine's list of outputs, in the order asked. */
  readonly outputs: readonly number[];
  readonly enqueuedSeconds: number;
  /** It came while no instance was live: it waits for the restart and is never told to go elsewhere. */
  readonly patient: boolean;
  /** Its caller has an answer or has given up; nothing is read or settled for it any more. */
  readonly settled: boolean;
  readonly resolve: (result: EngineResult) => void;
  readonly reject: (error: Error) => void;
}

/** A request as a job; `onCancel` is told when its caller gives up first. @throws GatewayError `invalid`, or the cancellation's reason */
export function createJob(
  info: EngineInfo,
  request: EngineRequest,
  how: {
    readonly enqueuedSeconds: number;
    readonly patient: boolean;
    readonly resolve: (result: EngineResult) => void;
    readonly reject: (error: Error) => void;
    readonly onCancel: (job: Job) => void;
  },
): Job {
  const { cancellation } = request;
  cancellation?.throwIfCancelled();
  const { inputs, outputs } = matchRequest(info, request);
  const settle = (): void => {
    job.settled = true;
    cancellation?.removeListener(cancel);
  };
  const cancel = (reason: Error): void => {
    how.onCancel(job);
    job.reject(reason);
  };
  const job = {
    inputs,
    outputs,
    enqueuedSeconds: how.enqueuedSeconds,
    patient: how.patient,
    settled: false,
    resolve(result: EngineResult): void {
      settle();
      how.resolve(result);
    },
    reject(error: Error): void {
      settle();
      how.reject(error);
    },
  };
  cancellation?.onCancel(cancel);
  return job;
}

/**
 * A request's tensors in the engine's order.
 * @throws GatewayError `invalid` when they do not fit the engine
 */
export function matchRequest(
  info: EngineInfo,
  request: EngineRequest,
): { readonly inputs: readonly Tensor[]; readonly outputs: readonly number[] } {
  return { inputs: matchInputs(info, request.inputs), outputs: matchOutputs(info, request.outputs) };
}

function matchInputs(info: EngineInfo, given: readonly Tensor[]): readonly Tensor[] {
  const names = () => info.inputs.map(({ name }) => `"${name}"`).join(", ");
  if (given.length !== info.inputs.length) {
    throw new GatewayError("invalid", `${given.length} inputs are given; the engine takes ${names()}`);
  }
  return info.inputs.map((spec, index) => {
    // Nearly always they come in order.
    const tensor =
      given[index]?.name === spec.name ? given[index] : given.find(({ name }) => name === spec.name);
    if (tensor === undefined) {
      throw new GatewayError("invalid", `input "${spec.name}" is missing; the engine takes ${names()}`);
    }
    if (tensor.datatype !== spec.datatype) {
      throw new GatewayError(
        "invalid",
        `input "${spec.name}" is ${tensor.datatype}; the engine takes ${spec.datatype}`,
      );
    }
    const misfit = shapeMisfit(spec, tensor.shape);
    if (misfit !== undefined) throw new GatewayError("invalid", `input ${misfit}`);
    const bytes = byteSize(spec.datatype, tensor.shape);
    if (tensor.data.byteLength !== bytes) {
      throw new GatewayError(
        "invalid",
        `input "${spec.name}" has ${tensor.data.byteLength} bytes; its shape and datatype make ${bytes}`,
      );
    }
    return tensor;
  });
}

const allOutputs = new WeakMap<EngineInfo, readonly number[]>();

function matchOutputs(info: EngineInfo, asked: readonly string[] | undefined): readonly number[] {
  if (asked === undefined) {
    let all = allOutputs.get(info);
    if (all === undefined) allOutputs.set(info, (all = info.outputs.map((_, index) => index)));
    return all;
  }
  if (new Set(asked).size !== asked.length) throw new GatewayError("invalid", "an output is asked for twice");
  return asked.map((name) => {
    const index = info.outputs.findIndex((spec) => spec.name === name);
    if (index === -1) {
      const names = info.outputs.map((spec) => `"${spec.name}"`).join(", ");
      throw new GatewayError("invalid", `output "${name}" does not exist; the engine gives ${names}`);
    }
    return index;
  });
}
