import { setImmediate, setTimeout } from "node:timers/promises";
import { blockThread } from "../core/block-thread.ts";
import type { LiveLoad } from "../core/live-load.ts";

/** When a run may begin. */
export interface GateTerms {
  /** Busy share of the device, 0 to 1, above which none does. */
  readonly maxUtilization: number;
  /** How long a moment in which no live request is being answered is worth waiting for; after that it begins beside one. */
  readonly idleSeconds: number;
  /** How long it may wait at all. */
  readonly patienceSeconds: number;
}

/** Keeps shadow work out of the way of live requests. */
export interface IdleGate {
  /** True when it is time; false when that did not come within the patience. */
  wait(terms: GateTerms): Promise<boolean>;
}

/** How often a busy machine is looked at; its load is an average over a second. */
const busyPollMs = 20;
/** How long the calling thread sleeps at a stretch, deaf to messages and hosts. */
const stretchSeconds = 0.002;

/** For a thread of its own: it sleeps where a thread that serves would keep its clients waiting. */
export function createIdleGate(options: {
  readonly load: LiveLoad;
  /** How often requests in flight are looked at: nobody tells when they are answered (see LiveLoadCounter). */
  readonly pollMs: number;
  readonly utilization: () => number;
  readonly seconds: () => number;
}): IdleGate {
  const { load, pollMs, utilization, seconds: now } = options;

  /** Sleeps until nothing is in flight, or it is as late as that; for a stretch at most. */
  function sleep(latest: number): void {
    const until = Math.min(latest, now() + stretchSeconds);
    // A timer of the event loop would be a whole millisecond, in which at half load the idle moment has come and gone.
    while (load.inFlight > 0 && now() < until) blockThread(pollMs);
  }

  return {
    async wait({ maxUtilization, idleSeconds, patienceSeconds }) {
      const began = now();
      const until = began + patienceSeconds;
      const beside = began + idleSeconds;
      for (;;) {
        const busy = utilization() > maxUtilization;
        if (!busy && (load.inFlight === 0 || now() >= beside)) return true;
        const left = until - now();
        if (left <= 0) return false;
        if (busy) {
          await setTimeout(Math.min(busyPollMs, left * 1000));
        } else {
          sleep(beside);
          // No turn of the event loop before the moment is used: at half load it is shorter than a millisecond.
          if (load.inFlight > 0) await setImmediate();
        }
      }
    },
  };
}
