import type { EngineInfo } from "../core/engine.ts";
import type { HostCall } from "./host-call.ts";

/** What a host program brings: the child's side of docs/engine-host.md needs nothing else. */
export interface HostedEngine<Bound> {
  readonly info: EngineInfo;
  /** Runs the engine on the shared memory. Returns its own times in nanoseconds, or is timed as a whole. */
  readonly infer: (call: HostCall<Bound>) => Promise<HostTimes | undefined> | HostTimes | undefined;
  /** Fields for the answer to PING, such as `deviceBytes`. */
  readonly ping?: () => object;
  readonly close?: () => Promise<void> | void;
}

export interface HostTimes {
  readonly engineNanoseconds: number;
  readonly deviceNanoseconds?: number;
}

/** What LOAD asks for. `artifact` is a path to open: the file whose digest was checked. */
export interface LoadJob {
  readonly manifest: Readonly<Record<string, unknown>>;
  readonly artifact: string;
  readonly directory: string;
  readonly threads: number;
}

/** The engine cannot be loaded; `remedy` says what would help. */
export class LoadFailed extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.remedy = remedy;
  }
}
