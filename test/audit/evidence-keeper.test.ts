import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createEvidenceKeeper } from "../../src/audit/evidence-keeper.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Engine } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import type { Model } from "../../src/models/model.ts";
import { openFileStore } from "../../src/store/file-store.ts";
import type { Store } from "../../src/store/store.ts";
import { pair, perBlock } from "./traffic.ts";

let path: string;
let store: Store;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "crosscheck-evidence-"));
  store = await openFileStore({ path });
});
afterEach(async () => {
  await store.close();
  await rm(path, { recursive: true });
});

function engineOf(id: string, sha256 = id): Engine {
  return { id, manifest: { artifact: { sha256 } } } as unknown as Engine;
}

function modelOf(settings: object = {}): { model: Model; engine: Engine } {
  const [reference, engine] = [engineOf("a"), engineOf("b")];
  const engines = new Map([reference, engine].map((each) => [each.id, each]));
  const config = modelSchema.parse({ name: "m", ...settings });
  return { model: { name: "m", config, engines, reference } as unknown as Model, engine };
}

const open = () => createEvidenceKeeper({ store, keyPrefix: "k/", seed: () => 7, log: silentLog });

test("what was seen before a restart of the gateway counts after it", async () => {
  const { model, engine } = modelOf({ deadlineMs: 5 });
  const before = open();
  const evidence = before.of(model, engine);
  for (let blockId = 0; blockId < 50; blockId++)
    evidence.add({
      type: "comparison",
      blockId,
      difference: { result: blockId % 10 ? "within" : "diverged", flip: false },
    });
  await before.close();
  const after = open();
  await after.restore(model);
  expect(after.of(model, engine).counts).toEqual(evidence.counts);
  expect(after.of(model, engine).rates.outside.whole).toEqual(evidence.rates.outside.whole);
  expect(after.of(model, engine).restarts).toBe(0);
  await after.close();
});

test("other terms are other evidence", async () => {
  const { model, engine } = modelOf({ deadlineMs: 5 });
  const before = open();
  before.of(model, engine).add({ type: "error", blockId: 1 });
  await before.close();
  const { model: changed } = modelOf({ deadlineMs: 6 });
  const after = open();
  await after.restore(changed);
  expect(after.of(changed, engine).counts.errors).toBe(0);
  await after.close();
});

test("beginning anew costs alpha, over restarts of the gateway too", async () => {
  const { model, engine } = modelOf();
  const before = open();
  before.of(model, engine).add({ type: "error", blockId: 1 });
  before.restart(model, engine);
  expect(before.of(model, engine)).toMatchObject({ restarts: 1, counts: { errors: 0 } });
  await before.close();
  const after = open();
  await after.restore(model);
  after.restart(model, engine);
  expect(after.of(model, engine).restarts).toBe(2);
  after.forget("m");
  expect(after.of(model, engine).restarts).toBe(3);
  expect(after.of(model, engine).pairs.restarts).toBe(3);
  await after.close();
});

test("pairs that began anew for another control are counted when the whole begins anew", async () => {
  const { model, engine } = modelOf();
  const keeper = open();
  const evidence = keeper.of(model, engine);
  for (const digest of ["a", "c"]) {
    evidence.add({ type: "control", digest });
    for (let blockId = 0; blockId < 3; blockId++) evidence.add(pair(blockId * perBlock, 1e-3, 1e-3));
  }
  evidence.add({ type: "control", digest: "a" });
  expect(evidence.pairs.restarts).toBe(2);
  keeper.restart(model, engine);
  expect(keeper.of(model, engine)).toMatchObject({ restarts: 1, pairs: { restarts: 3 } });
  await keeper.close();
});

test("stored evidence that cannot be understood is begun anew, at its price", async () => {
  const { model, engine } = modelOf();
  const before = open();
  before.of(model, engine).add({ type: "error", blockId: 1 });
  await before.close();
  const damaged = { ...store, read: () => Promise.resolve({ schema: 1, restarts: 2, key: {} }) };
  const after = createEvidenceKeeper({ store: damaged, keyPrefix: "k/", seed: () => 7, log: silentLog });
  await after.restore(model);
  expect(after.of(model, engine)).toMatchObject({ restarts: 3, counts: { errors: 0 } });
  await after.close();
});

test("evidence that does not tell how many decisions were read is begun anew", async () => {
  const { model, engine } = modelOf();
  const before = open();
  const difference = { result: "within", flip: false } as const;
  before.of(model, engine).add({ type: "comparison", blockId: 1, difference });
  const { undecided: _, ...counts } = before.of(model, engine).counts;
  const stored = { ...before.of(model, engine).snapshot(), schema: 2, counts };
  await before.close();
  const older = { ...store, read: () => Promise.resolve(stored) };
  const after = createEvidenceKeeper({ store: older, keyPrefix: "k/", seed: () => 7, log: silentLog });
  await after.restore(model);
  expect(after.of(model, engine)).toMatchObject({ restarts: 1, counts: { comparisons: 0 } });
  await after.close();
});

test("however many engines there are, each keeps its evidence", async () => {
  const keeper = open();
  const models = Array.from({ length: 300 }, (_, at) => {
    const { model, engine } = modelOf();
    return { model: Object.assign(model, { name: `m${at}` }), engine };
  });
  for (let blockId = 0; blockId < 3; blockId += 1)
    for (const { model, engine } of models) {
      keeper.of(model, engine).add({ type: "error", blockId });
      keeper.retain(model);
    }
  for (const { model, engine } of models)
    expect(keeper.of(model, engine)).toMatchObject({ restarts: 0, counts: { errors: 3 } });
  await keeper.close();
});

test("of evidence on terms that a model had before, the latest is kept", async () => {
  const keeper = open();
  const versions = Array.from({ length: 300 }, (_, at) => modelOf({ deadlineMs: at + 1 }));
  for (const { model, engine } of versions) {
    keeper.of(model, engine).add({ type: "error", blockId: 1 });
    keeper.retain(model);
  }
  const restarts = versions.map(({ model, engine }) => keeper.of(model, engine).restarts);
  expect(restarts.indexOf(0)).toBe(300 - 1 - 256);
  expect(restarts.lastIndexOf(1)).toBe(300 - 1 - 257);
  await keeper.close();
});
