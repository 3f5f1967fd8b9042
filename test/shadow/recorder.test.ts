import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { zipSync } from "fflate";
import type { Log } from "../../src/core/log.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import { readNpz } from "../../src/models/npz.ts";
import { createRecorder } from "../../src/shadow/recorder.ts";

let scratch: string;
let directory: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "crosscheck-recorder-"));
  directory = join(scratch, "model");
  await mkdir(directory);
});
afterEach(() => rm(scratch, { recursive: true }));

function modelOf(record: object = {}): Model {
  const config = modelSchema.parse({ name: "m", record: { dir: "deep/recorded", ...record } });
  return new Model({ name: "m", directory, config, engines: new Map(), broken: new Map() });
}

function input(bytes: number): Tensor {
  return { name: "x", datatype: "UINT8", shape: [bytes], data: new Uint8Array(bytes).fill(7) };
}

function open() {
  const warnings: unknown[] = [];
  const log: Log = { ...silentLog, warn: (about: unknown) => void warnings.push(about) };
  return { recorder: createRecorder({ log }), warnings };
}

const files = () => readdir(join(directory, "deep/recorded")).catch((): string[] => []);

test("a file appears whole, under its last name, and no other one stays behind", async () => {
  const { recorder } = open();
  await mkdir(join(directory, "deep/recorded"), { recursive: true });
  // Left by a gateway that was killed.
  await writeFile(join(directory, "deep/recorded/2020.npz.partial"), "half");
  recorder.record(modelOf(), "r", [input(1_000_000)]);
  await expect.poll(async () => (await files()).filter((name) => name.endsWith(".npz")).length).toBe(1);
  const [name = ""] = await files();
  expect(await files()).toEqual([name]);
  const npz = await readNpz(join(directory, "deep/recorded", name));
  expect(npz.get("x").shape).toEqual([1, 1_000_000]);
});

test("the event loop turns while a large input is written", async () => {
  const bytes = 48_000_000;
  const { data } = input(bytes);
  const begun = performance.now();
  zipSync({ x: data }, { level: 0 });
  const oneStretch = performance.now() - begun;
  const { recorder } = open();
  // The machine may be busy with something else at any moment: the best of a few is the recorder's own.
  let longest = Infinity;
  for (let round = 1; round <= 5; round += 1) {
    const state = { done: false, longest: 0 };
    const watch = (before: number): void => {
      const now = performance.now();
      state.longest = Math.max(state.longest, now - before);
      if (!state.done) setImmediate(watch, now);
    };
    recorder.record(modelOf(), `r${round}`, [input(bytes)]);
    setImmediate(watch, performance.now());
    await expect.poll(async () => (await files()).filter((name) => name.endsWith(".npz")).length).toBe(1);
    state.done = true;
    longest = Math.min(longest, state.longest);
    await rm(join(directory, "deep"), { recursive: true });
    await mkdir(join(directory, "deep/recorded"), { recursive: true });
  }
  expect(longest).toBeLessThan(oneStretch / 4);
});

test("a folder that could not be opened is tried again with the next input", async () => {
  const { recorder, warnings } = open();
  await writeFile(join(directory, "deep"), "in the way");
  recorder.record(modelOf(), "r1", [input(10)]);
  await expect.poll(() => warnings.length).toBe(1);
  await rm(join(directory, "deep"));
  await expect
    .poll(async () => {
      recorder.record(modelOf(), "r2", [input(10)]);
      return (await files()).length;
    })
    .toBeGreaterThan(0);
});

test("an input that cannot be written leaves nothing behind", async () => {
  const { recorder, warnings } = open();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.UTC(2026, 0, 1) });
  // A folder in the file's place: the rename fails after the whole file was written.
  const name = "2026-01-01T00-00-00-000Z-r1.npz";
  await mkdir(join(directory, "deep/recorded", name), { recursive: true });
  recorder.record(modelOf(), "r1", [input(10)]);
  await expect.poll(() => warnings.length).toBe(1);
  expect(await files()).toEqual([name]);
  vi.useRealTimers();
});

test("symbolic links do not lead it out of the model's folder", async () => {
  const outside = join(scratch, "outside");
  await mkdir(outside);
  for (const target of [outside, join(outside, "missing")]) {
    const { recorder, warnings } = open();
    await symlink(target, join(directory, "deep"));
    recorder.record(modelOf(), "r", [input(10)]);
    await expect.poll(() => warnings.length).toBe(1);
    expect(await readdir(outside)).toEqual([]);
    await rm(join(directory, "deep"));
  }
});
