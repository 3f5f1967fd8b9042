/**
 * Turning a request away takes work too. Clients that come again at once would have the thread that serves do nothing
 * else: an answer of the engine, and the next request given to it, waited behind all rejections of a turn of the event
 * loop, and of 1,500 answers a second 200 were left. So each turn has a few.
 */
export interface Rejections {
  /** Resolves when it is this one's turn. */
  turn(): Promise<void>;
}

/** Less work than one answer. */
const usual = 2;
/** Where the first has waited long: clients that do not wait open new connections, which is more work than to answer them. */
const late = 6;
const lateMs = 100;

export function createRejections(nowMs: () => number = () => performance.now()): Rejections {
  const waiting: { readonly resolve: () => void; readonly sinceMs: number }[] = [];

  function step(): void {
    const first = waiting[0]?.sinceMs ?? Infinity;
    for (const { resolve } of waiting.splice(0, nowMs() - first > lateMs ? late : usual)) resolve();
    if (waiting.length > 0) setImmediate(step);
  }

  return {
    turn: () =>
      new Promise((resolve) => {
        waiting.push({ resolve, sinceMs: nowMs() });
        if (waiting.length === 1) setImmediate(step);
      }),
  };
}
