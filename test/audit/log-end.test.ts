import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openDecisionLog } from "../../src/audit/log/decision-log.ts";
import { sealEntry, type Decision, type LogEntry } from "../../src/audit/log/entry.ts";
import { openLogEnd } from "../../src/audit/log/log-end.ts";
import { verifyLog } from "../../src/audit/log/verify.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { openFileStore } from "../../src/store/file-store.ts";
import { knownDecisions } from "../../src/store/known-decisions.ts";

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), "crosscheck-log-end-"));
});
afterEach(() => rm(path, { recursive: true }));

const advice = (reason: string): Decision => ({
  type: "advice",
  model: "m",
  from: "a",
  to: null,
  trigger: "policy",
  actor: "policy",
  reason,
});

/** As the gateway does, from its start to its end. */
async function run(...reasons: readonly string[]): Promise<LogEntry[]> {
  const store = await openFileStore({ path });
  const end = await openLogEnd({ store, log: silentLog });
  const log = await openDecisionLog({
    directory: join(path, "log"),
    repository: "/models",
    clock: systemClock,
    onAppend: (entry) => end.note(entry),
  });
  await end.check(log);
  for (const reason of reasons) await log.append(advice(reason));
  const all = log.tail(Infinity);
  await log.close();
  await end.close();
  await store.close();
  return [...all];
}

const file = () => join(path, "log", "decisions-000001.jsonl");
const lines = async () => (await readFile(file(), "utf8")).trimEnd().split("\n");
const put = (kept: readonly string[]) => writeFile(file(), kept.map((line) => `${line}\n`).join(""));

async function faults(): Promise<string[]> {
  const { known } = await knownDecisions({ kind: "file", path, url: undefined });
  return (await verifyLog(join(path, "log"), known)).faults.map(({ problem }) => problem);
}

test("a log that is whole is as it was", async () => {
  await run("one", "two");
  expect((await run("three")).map(({ type }) => type)).toEqual(["advice", "advice", "advice"]);
  expect(await faults()).toEqual([]);
});

test("a cut-off end of any lines is found, before the next start and for ever after it", async () => {
  await run("one", "two", "three");
  await put((await lines()).slice(0, 2));
  expect(await faults()).toEqual([expect.stringMatching(/ends with seq 2, but state file .* knows of 3/)]);
  const entries = await run("four");
  expect(entries.map(({ type }) => type)).toEqual(["advice", "advice", "repair", "advice"]);
  for (const restarts of [0, 1]) {
    if (restarts > 0) await run("five", "six");
    expect(await faults()).toEqual([
      "the log ends with decision 2, but it had 3: its end was cut off, or it was begun anew",
    ]);
  }
});

test("a log that was sealed anew is found by the hash of its end", async () => {
  await run("one", "two");
  let prev = "0".repeat(64);
  const forged = (await lines()).map((line) => {
    const { seq, time } = JSON.parse(line) as LogEntry;
    const sealed = sealEntry(advice(`forged ${seq}`), { seq, time, repository: "/models", prev });
    prev = sealed.entry.hash;
    return sealed.line;
  });
  await put(forged);
  expect(await faults()).toEqual([expect.stringMatching(/decision 2 is another one in state file/)]);
  await run("three");
  expect(await faults()).toEqual([expect.stringMatching(/decision 2 is another one than it was/)]);
});

test("a log that was archived as a whole is begun anew, which its first line says", async () => {
  await run("one", "two");
  await rm(join(path, "log"), { recursive: true });
  const entries = await run("three");
  expect(entries.map(({ seq, type }) => [seq, type])).toEqual([
    [1, "repair"],
    [2, "advice"],
  ]);
  expect(await faults()).toEqual([]);
});
