import { appendFile, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openDecisionLog, type DecisionLog } from "../../src/audit/log/decision-log.ts";
import type { Decision } from "../../src/audit/log/entry.ts";
import { verifyLog } from "../../src/audit/log/verify.ts";
import { systemClock } from "../../src/core/clock.ts";
import { mayMount, onSmallDisk } from "../_small-disk.ts";

let directory: string;
let log: DecisionLog | undefined;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "crosscheck-log-"));
});
afterEach(async () => {
  await log?.close();
  log = undefined;
  await rm(directory, { recursive: true, force: true });
});

const decision = (to: string): Decision => ({
  type: "switch",
  model: "m",
  from: "a",
  to,
  trigger: "manual",
  actor: "test",
  reason: `quotes " and \u2028 and "hash":"${"0".repeat(64)}"`,
});

async function openLog(rotateBytes?: number, clock = systemClock): Promise<DecisionLog> {
  log = await openDecisionLog({
    directory,
    repository: "/models",
    clock,
    ...(rotateBytes ? { rotateBytes } : {}),
  });
  return log;
}

async function writeLines(count: number, rotateBytes?: number): Promise<string> {
  const opened = await openLog(rotateBytes);
  for (let i = 1; i <= count; i++) await opened.append(decision(`engine-${i}`));
  await opened.close();
  return join(directory, "decisions-000001.jsonl");
}

async function editLines(file: string, edit: (lines: string[]) => string[]): Promise<void> {
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  await writeFile(file, `${edit(lines).join("\n")}\n`);
}

describe("decision log", () => {
  test("an untouched chain verifies, over a reopening too", async () => {
    await writeLines(5);
    const again = await openLog();
    expect(again.lastSeq).toBe(5);
    await again.append(decision("later"));
    await again.close();
    expect(await verifyLog(directory)).toMatchObject({ entries: 6, faults: [] });
  });

  test.each<[string, (lines: string[]) => string[], RegExp]>([
    [
      "a changed word",
      (lines) => lines.map((line, i) => (i === 2 ? line.replace("engine-3", "engine-9") : line)),
      /was changed/,
    ],
    ["a missing line", (lines) => lines.filter((_, i) => i !== 2), /missing or reordered/],
    ["reordered lines", ([a, b, c, ...rest]) => [a, c, b, ...rest] as string[], /missing or reordered/],
    ["a missing first line", (lines) => lines.slice(1), /missing or reordered/],
    ["a line that is no entry", (lines) => [...lines, "{}"], /is not a log line/],
    ["a repeated line", (lines) => [...lines, lines.at(-1) as string], /missing or reordered/],
  ])("verify finds %s", async (_, edit, problem) => {
    const file = await writeLines(5);
    await editLines(file, edit);
    const { faults } = await verifyLog(directory);
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.map((fault) => fault.problem).join("\n")).toMatch(problem);
  });

  test("a cut-off end and an emptied folder are found by what else knows of decisions, a log sealed anew by its hash", async () => {
    const file = await writeLines(5);
    const { lastHash } = await verifyLog(directory);
    const state = { where: "the state", seq: 5, hash: undefined };
    const stream = { where: "the stream", seq: 5, hash: lastHash };
    const problems = async () =>
      (await verifyLog(directory, [state, stream])).faults.map(({ problem }) => problem);
    expect(await problems()).toEqual([]);
    await editLines(file, (lines) => lines.slice(0, 3));
    expect(await problems()).toEqual([
      "the log ends with seq 3, but the state knows of 5",
      "the log ends with seq 3, but the stream knows of 5",
    ]);
    await rm(file);
    expect((await problems())[0]).toMatch(/ends with seq 0/);
    await writeLines(6);
    expect(await problems()).toEqual([expect.stringMatching(/decision 5 is another one in the stream/)]);
  });

  test("a line changed together with its own hash breaks the chain at the next", async () => {
    const file = await writeLines(3);
    const { sealEntry } = await import("../../src/audit/log/entry.ts");
    await editLines(file, (lines) => {
      const old = JSON.parse(lines[1] as string) as { seq: number; time: string; prev: string };
      lines[1] = sealEntry(decision("forged"), { ...old, repository: "/models" }).line;
      return lines;
    });
    const { faults } = await verifyLog(directory);
    expect(faults).toMatchObject([{ line: 3, problem: expect.stringContaining("prev does not match") }]);
  });

  test("a torn last line is cut off, noted, and the chain goes on", async () => {
    const file = await writeLines(3);
    await appendFile(file, '{"seq":4,"time":"2026-01-01T0');
    const again = await openLog();
    await again.append(decision("after"));
    await again.close();
    expect(await verifyLog(directory)).toMatchObject({ entries: 5, faults: [] });
    const { entries } = await (await openLog()).read(3, 10);
    expect(entries.map(({ type }) => type)).toEqual(["repair", "switch"]);
  });

  test.skipIf(!mayMount)(
    "a disk so full that the repair cannot be noted keeps nothing from starting; it is noted later",
    (context) => {
      const disk = join(directory, "disk");
      return onSmallDisk(context, { folder: disk, kB: 64 }, async () => {
        const on = { directory: join(disk, "log"), repository: "/models", clock: systemClock };
        log = await openDecisionLog(on);
        await log.append({ ...decision("b"), reason: "x".repeat(3600) });
        await log.close();
        const file = join(on.directory, "decisions-000001.jsonl");
        // What a crash left of the next line is in the same page, which has no room for the note.
        const { size } = await stat(file);
        expect(size).toBeGreaterThan(3800);
        await appendFile(file, '{"seq":2'.padEnd(4096 - size, "y"));
        await appendFile(join(disk, "filler"), Buffer.alloc(64 * 1024)).catch(() => undefined);
        log = await openDecisionLog(on);
        expect(log.lastSeq).toBe(1);
        expect(log.trouble).toMatch(/ENOSPC.*free disk space/s);
        await expect(log.append(decision("c"))).rejects.toThrow("it was not made");
        await rm(join(disk, "filler"));
        await log.append(decision("d"));
        await log.close();
        const { entries } = await (log = await openDecisionLog(on)).read(0, 10);
        expect(entries.map(({ type, to }) => to ?? type)).toEqual(["b", "repair", "d"]);
        expect((await verifyLog(on.directory)).faults).toEqual([]);
        await log.close();
      });
    },
  );

  test("rotation keeps the chain", async () => {
    await writeLines(20, 2000);
    expect((await readdir(directory)).length).toBeGreaterThan(3);
    expect(await verifyLog(directory)).toMatchObject({ entries: 20, faults: [] });
    await rm(join(directory, "decisions-000002.jsonl"));
    expect((await verifyLog(directory)).faults[0]?.problem).toMatch(/000002.jsonl is missing/);
  });

  test("after old files were archived away the newest goes on, and no seq is issued twice", async () => {
    await writeLines(12, 1000);
    const [first, second, ...kept] = (await readdir(directory)).toSorted();
    await rm(join(directory, first as string));
    await rm(join(directory, second as string));
    const before = await Promise.all(kept.map((file) => readFile(join(directory, file), "utf8")));
    for (const to of ["engine-13", "engine-14"]) {
      const again = await openLog(1000);
      await again.append(decision(to));
      await again.close();
    }
    const after = await Promise.all(kept.map((file) => readFile(join(directory, file), "utf8")));
    for (const [place, text] of before.entries()) expect(after[place]?.startsWith(text)).toBe(true);
    const again = await openLog(1000);
    expect(again.lastSeq).toBe(14);
    expect((await again.read(10, 10)).entries.map(({ seq }) => seq)).toEqual([11, 12, 13, 14]);
    const { faults } = await verifyLog(directory);
    expect(faults.map(({ line }) => line)).toEqual([0, 1, 1]);
  });

  test("a rotation that cannot have its file refuses the decision, touches no other file and is tried again", async () => {
    await writeLines(2, 1000);
    const again = await openLog(1000);
    const next = join(directory, "decisions-000002.jsonl");
    await writeFile(next, "somebody else's\n");
    await expect(again.append(decision("refused"))).rejects.toMatchObject({
      code: "conflict",
      message: expect.stringMatching(/so it was not made.*000002/),
    });
    expect(await readFile(next, "utf8")).toBe("somebody else's\n");
    await rm(next);
    await again.append(decision("taken"));
    await again.close();
    expect(await verifyLog(directory)).toMatchObject({ entries: 3, files: 2, faults: [] });
  });

  test("a decision that cannot be written is trouble until one can", async () => {
    const opened = await openLog(1, { ...systemClock, now: () => new Date("2026-01-01T00:00:00Z") });
    await opened.append(decision("first"));
    expect(opened.trouble).toBeUndefined();
    const next = join(directory, "decisions-000002.jsonl");
    await writeFile(next, "");
    await expect(opened.append(decision("refused"))).rejects.toThrow(/EEXIST.*free disk space/);
    expect(opened.trouble).toMatch(
      /^the decision cannot be written to .*EEXIST.*; free disk space or set store\.path \(tried last at 2026-01-01T00:00:00\.000Z\)$/,
    );
    await rm(next);
    await opened.append(decision("taken"));
    expect(opened.trouble).toBeUndefined();
  });

  test("the files stay in order beyond a million", async () => {
    for (const number of ["1000000", "999999"])
      await writeFile(join(directory, `decisions-${number}.jsonl`), "");
    await (await openLog()).append(decision("a"));
    expect((await readFile(join(directory, "decisions-1000000.jsonl"), "utf8")).length).toBeGreaterThan(0);
  });

  test("pages through entries, also those no longer in memory", async () => {
    await writeLines(1100, 100_000);
    const again = await openLog();
    const first = await again.read(0, 400);
    const second = await again.read(first.next, 400);
    const third = await again.read(second.next, 400);
    const seqs = [first, second, third].flatMap(({ entries }) => entries.map(({ seq }) => seq));
    expect(seqs).toEqual(Array.from({ length: 1100 }, (_, i) => i + 1));
  });

  test("decisions taken at the same time are written one after another", async () => {
    const opened = await openLog();
    await Promise.all(Array.from({ length: 50 }, (_, i) => opened.append(decision(`e${i}`))));
    await opened.close();
    expect(await verifyLog(directory)).toMatchObject({ entries: 50, faults: [] });
  });
});
