import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { DecisionLog } from "../../src/audit/log/decision-log.ts";
import type { LogEntry } from "../../src/audit/log/entry.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Model } from "../../src/models/model.ts";
import type { Store } from "../../src/store/store.ts";
import { createMemory } from "../../src/switching/memory.ts";
import { createTracks } from "../../src/switching/tracks.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("state that could not be stored is written again, without another decision", async () => {
  const written: unknown[] = [];
  let full = true;
  const store: Pick<Store, "write"> = {
    write: (key, document) => {
      if (full) return Promise.reject(new Error("disk full"));
      written.push([key, document]);
      return Promise.resolve();
    },
  };
  const memory = createMemory({
    tracks: createTracks({ clock: systemClock }),
    store: store as Store,
    keyPrefix: "r/",
    repository: "/models",
    decisions: {} as DecisionLog,
    log: silentLog,
  });
  const model = { name: "m", config: { policy: { cooldownSeconds: 0 } } } as Model;
  const time = new Date(0).toISOString();
  memory.record(model, { type: "switch", seq: 1, time, from: "a", to: "b", trigger: "manual" } as LogEntry);
  await vi.advanceTimersByTimeAsync(1000);
  full = false;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(written).toEqual([["r/m", expect.objectContaining({ active: "b", standby: "a" })]]);
  await memory.close();
  expect(written).toHaveLength(1);
});
