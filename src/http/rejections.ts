/**
 * Turning a request away is as much work as half an answer (measured: 0.20 of 0.34 ms). Clients that come again at once would
 * have the thread that serves do nothing else: an answer of the engine, and the next request given to it, waited behind
 * all rejections of a turn of the event loop, and of 1,500 answers a second 200 were left. So each turn has one rejection.
 */
export interface Rejections {
  /** Resolves when it is this one's turn, or in the first turn after half a second: what waits holds its request. */
  turn(): Promise<void>;
}

const mostMs = 500;

export function createRejections(nowMs: () => number = () => performance.now()): Rejections {
  const waiting: { readonly resolve: () => void; readonly sinceMs: number }[] = [];

  function step(): void {
    const overdue = nowMs() - mostMs;
    let released = 0;
    for (const { resolve, sinceMs } of waiting) {
      if (released > 0 && sinceMs > overdue) break;
      resolve();
      released += 1;
    }
    waiting.splice(0, released);
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
