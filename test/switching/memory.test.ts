import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { DecisionLog } from "../../src/audit/log/decision-log.ts";
import type { LogEntry } from "../../src/audit/log/entry.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Model } from "../../src/models/model.ts";
import type { Store } from "../../src/store/store.ts";
import { createMemory } from "../../src/switching/memory.ts";
import { freshState } from "../../src/switching/model-state.ts";
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
    clock: systemClock,
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

test("what is stored holds no longer than a cooldown, whatever the clock was when it was written", async () => {
  const hourMs = 3_600_000;
  const clock = { seconds: () => 10_000, now: () => new Date(100 * hourMs) };
  const tracks = createTracks({ clock });
  const saved = {
    ...freshState,
    decision: 1,
    pausedUntilMs: 5000 * hourMs,
    heldUntilMs: 100 * hourMs + 60_000,
    switchTimesMs: [100 * hourMs - 120_000, 5000 * hourMs],
  };
  const memory = createMemory({
    tracks,
    store: { read: () => Promise.resolve(saved) } as unknown as Store,
    keyPrefix: "",
    repository: "/models",
    decisions: { tail: () => [] } as unknown as DecisionLog,
    clock,
    log: silentLog,
  });
  await memory.restore({ name: "m", config: { policy: { cooldownSeconds: 300 } } } as Model);
  expect(tracks.model("m")).toMatchObject({
    pausedUntilSeconds: 10_300,
    heldUntilSeconds: 10_060,
    switchSeconds: [9880, 10_000],
  });
  await memory.close();
});

/** Of a model whose switch stands in the log, and which reads its state so; with what it writes. */
function openWithLog(read: (written: readonly unknown[]) => Promise<unknown>) {
  const written: unknown[] = [];
  const line = { seq: 7, hash: "h", time: new Date(0).toISOString(), repository: "/models", model: "m" };
  const memory = createMemory({
    tracks: createTracks({ clock: systemClock }),
    store: {
      read: () => read(written),
      write: (_: string, document: unknown) => Promise.resolve(void written.push(document)),
    } as unknown as Store,
    keyPrefix: "",
    repository: "/models",
    decisions: {
      tail: () => [{ ...line, type: "switch", from: "a", to: "b", trigger: "manual" } as LogEntry],
    } as unknown as DecisionLog,
    clock: systemClock,
    log: silentLog,
  });
  const model = { name: "m", config: { policy: { cooldownSeconds: 0 } } } as Model;
  return { memory, model, written };
}

test("a state that only the log had is written, for its line will not be read for ever", async () => {
  const { memory, model, written } = openWithLog((before) => Promise.resolve(before[0]));
  await memory.restore(model);
  await vi.advanceTimersByTimeAsync(1000);
  expect(written).toEqual([expect.objectContaining({ active: "b", decision: 7 })]);
  await memory.close();
  expect(written).toHaveLength(1);
});

test("a state that only could not be read is not written over", async () => {
  const { memory, model, written } = openWithLog(() => Promise.reject(new Error("EMFILE")));
  await memory.restore(model);
  await vi.advanceTimersByTimeAsync(1000);
  expect(written).toEqual([]);
  await memory.close();
});
