import type { Redis } from "ioredis";
import { expect, test } from "vitest";
import type { LogEntry } from "../../src/audit/log/entry.ts";
import { silentLog } from "../../src/core/log.ts";
import { createDelivery } from "../../src/store/redis-delivery.ts";
import { createTroubles } from "../../src/store/troubles.ts";

test("a Redis that comes back empty while decisions are being read gets all of them", async () => {
  // What a connection lost in the middle of a read does cannot be timed with a server.
  let stream: string[] = [];
  const redis = {
    xrevrange: () => Promise.resolve(stream.slice(-1).map((id) => [id, []])),
    xadd: (...args: readonly unknown[]) => Promise.resolve(stream.push(args[4] as string)),
  } as unknown as Redis;
  let lastSeq = 3;
  let held: (() => void) | undefined;
  let hold = false;
  const source = {
    get lastSeq() {
      return lastSeq;
    },
    async read(after: number, limit: number) {
      if (hold) await new Promise<void>((resolve) => (held = resolve));
      const all = Array.from({ length: lastSeq }, (_, at) => ({ seq: at + 1 }) as LogEntry);
      const entries = all.filter(({ seq }) => seq > after).slice(0, limit);
      return { entries, next: entries.at(-1)?.seq ?? after };
    },
  };
  const delivery = createDelivery({
    redis,
    stream: "s",
    source,
    ready: () => true,
    troubles: createTroubles(silentLog),
    log: silentLog,
  });
  delivery.wake();
  await expect.poll(() => stream).toEqual(["1-0", "2-0", "3-0"]);
  lastSeq = 4;
  hold = true;
  delivery.wake();
  await expect.poll(() => held).toBeDefined();
  stream = [];
  delivery.reconnected();
  hold = false;
  held?.();
  await expect.poll(() => stream).toEqual(["1-0", "2-0", "3-0", "4-0"]);
  delivery.close();
});
