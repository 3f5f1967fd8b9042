import { GatewayError } from "../core/errors.ts";
import type { Engine, PoolRole } from "./engine.ts";

/** Memory assumed for an engine that was never loaded: its runtime, and the artifact twice. */
const runtimeBytes = 64 * 1024 * 1024;
/** An active engine used within this time is under load and stays. */
const idleSeconds = 1;

export interface MemoryBudget {
  /**
   * Makes room for one more pool of `engine` by unloading idle engines, least recently used first: those that answer no
   * client before active ones; never one with work in flight, never an active one under load, and for a shadow instance
   * never an active one at all.
   * @throws GatewayError `unavailable` when that does not free enough.
   */
  admit(engine: Engine, role: PoolRole): Promise<void>;
  /** What the engine really took is known; its reservation ends. */
  settle(engine: Engine): void;
}

export function createMemoryBudget(options: {
  readonly limitBytes: number;
  readonly engines: () => Iterable<{ readonly engine: Engine; readonly active: boolean }>;
  readonly evict: (engine: Engine) => Promise<void>;
  readonly seconds: () => number;
  readonly artifactBytes: (engine: Engine) => number;
}): MemoryBudget {
  const { limitBytes, engines, evict, seconds, artifactBytes } = options;
  const reserved = new Map<Engine, number>();
  let turn: Promise<void> = Promise.resolve();

  const needOf = (engine: Engine) => engine.knownResidentBytes ?? runtimeBytes + 2 * artifactBytes(engine);

  function usedBytes(): number {
    let bytes = 0;
    for (const { engine } of engines()) bytes += engine.residentBytes();
    for (const need of reserved.values()) bytes += need;
    return bytes;
  }

  function victim(keep: Engine, role: PoolRole): Engine | undefined {
    const idle = [...engines()].filter(
      ({ engine, active }) =>
        engine !== keep &&
        !reserved.has(engine) &&
        engine.inFlight === 0 &&
        engine.residentBytes() > 0 &&
        !(active && (role === "shadow" || seconds() - engine.lastUsedSeconds < idleSeconds)),
    );
    idle.sort(
      (a, b) => Number(a.active) - Number(b.active) || a.engine.lastUsedSeconds - b.engine.lastUsedSeconds,
    );
    return idle[0]?.engine;
  }

  async function makeRoom(engine: Engine, role: PoolRole): Promise<void> {
    const need = needOf(engine);
    while (usedBytes() + need > limitBytes) {
      const next = victim(engine, role);
      if (!next)
        throw new GatewayError(
          "unavailable",
          `engine "${engine.id}" needs about ${need} bytes; ${usedBytes()} of memoryBudgetBytes ${limitBytes} are in use by engines that are busy; raise the budget or unload a model`,
          { retryAfterSeconds: 1 },
        );
      await evict(next);
    }
    reserved.set(engine, need);
  }

  return {
    admit(engine, role) {
      if (!Number.isFinite(limitBytes)) return Promise.resolve();
      // One admission at a time, or two would count the same free bytes.
      const mine = turn.then(() => makeRoom(engine, role));
      turn = mine.catch(() => undefined);
      return mine;
    },
    settle: (engine) => void reserved.delete(engine),
  };
}
