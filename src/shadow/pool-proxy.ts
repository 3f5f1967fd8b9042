import type { EngineInfo, EngineResult } from "../core/engine.ts";
import { residentBytesOf } from "../hosting/resident-bytes.ts";
import type { EnginePool } from "../models/engine.ts";
import type { PoolState, Request, SentPoolOptions } from "./messages.ts";

/** A pool that lives in the shadow thread, as the serving thread sees it: what it does is asked for, what it is told. */
export interface PoolProxy extends EnginePool {
  readonly pool: number;
  learn(state: PoolState): void;
}

const unborn: PoolState = { healthy: 0, pending: 0, failure: undefined, processes: [] };

export function createPoolProxy(
  pool: number,
  options: SentPoolOptions,
  ask: (request: Request) => Promise<unknown>,
): PoolProxy {
  let state = unborn;
  return {
    pool,
    learn(told) {
      state = told;
    },
    start: () => ask({ type: "start", pool, options }) as Promise<EngineInfo>,
    // A cancellation cannot be sent, and need not be: no client waits here.
    infer: ({ inputs, outputs }) =>
      ask({ type: "infer", pool, request: { inputs, outputs } }) as Promise<EngineResult>,
    async close() {
      // A thread that is lost has taken its hosts along.
      await ask({ type: "close", pool }).catch(() => {});
    },
    get healthy() {
      return state.healthy;
    },
    get pending() {
      return state.pending;
    },
    get failure() {
      return state.failure;
    },
    residentBytes: () => state.processes.reduce((sum, { pid }) => sum + residentBytesOf(pid), 0),
    get processes() {
      return state.processes.map(({ instance, pid }) => ({ instance, residentBytes: residentBytesOf(pid) }));
    },
  };
}
