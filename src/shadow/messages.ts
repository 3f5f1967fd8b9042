import type { MessagePort } from "node:worker_threads";
import type { EngineRequest } from "../core/engine.ts";
import type { Log } from "../core/log.ts";
import type { SentError } from "../core/sent-error.ts";
import type { PoolEvent, PoolOptions } from "../hosting/pool.ts";
import type { Rows } from "./rows.ts";

/** What the shadow thread is started with. */
export interface ThreadData {
  /** Of the counter of live requests. */
  readonly load: SharedArrayBuffer;
  /** Of the gateway's clock. */
  readonly clockOrigin: number;
  /** Where answers to jobs go; `answered` counts those that have not been taken. */
  readonly answers: MessagePort;
  readonly answered: SharedArrayBuffer;
}

/** A pool's options, as far as they can be sent. */
export type SentPoolOptions = Omit<PoolOptions, "cores" | "clock" | "log" | "onEvent">;

/** Asked of the shadow thread, which answers each by its `call`. Pools are numbered by the asking side. */
export type Request =
  | { readonly type: "start"; readonly pool: number; readonly options: SentPoolOptions }
  | { readonly type: "infer"; readonly pool: number; readonly request: EngineRequest }
  | { readonly type: "close"; readonly pool: number }
  | { readonly type: "run"; readonly jobs: Rows }
  /** Whether it is there at all. */
  | { readonly type: "ping" };

export type ToThread = Request & { readonly call: number };

export type FromThread =
  | { readonly type: "answer"; readonly call: number; readonly value: unknown }
  | { readonly type: "error"; readonly call: number; readonly error: SentError }
  /** An answer to a job has waited for a while. */
  | { readonly type: "answered" }
  | {
      readonly type: "pool";
      readonly pool: number;
      readonly state: PoolState;
      readonly event: PoolEvent | undefined;
    }
  | {
      readonly type: "log";
      readonly level: Exclude<keyof Log, "child">;
      readonly fields: object;
      readonly message: string;
    };

/** What is known of a pool without asking for it. */
export interface PoolState {
  readonly healthy: number;
  readonly pending: number;
  readonly failure: string | undefined;
  readonly processes: readonly { readonly instance: number; readonly pid: number | undefined }[];
}
