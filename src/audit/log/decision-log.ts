import { constants } from "node:fs";
import { mkdir, open, readFile, rm, stat, truncate, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { GatewayError } from "../../core/errors.ts";
import { syncDirectory } from "../../core/sync-directory.ts";
import { firstPrev, openLine, sealEntry, type Decision, type LogEntry } from "./entry.ts";
import { fileName, fileNumber, linesOf, logFiles } from "./verify.ts";

/** Append-only, hash-chained JSON lines; a decision is on disk (fsync) before anything is done about it. */
export interface DecisionLog {
  /** @throws GatewayError `conflict` when the line cannot be written (disk full); nothing has been decided then. */
  append(decision: Decision): Promise<LogEntry>;
  /** Entries with seq > after, oldest first. */
  read(after: number, limit: number): Promise<{ entries: LogEntry[]; next: number }>;
  /** The newest entries, oldest first. */
  tail(count: number): readonly LogEntry[];
  readonly lastSeq: number;
  /** What kept the last decision from the log; undefined when it was taken. */
  readonly trouble: string | undefined;
  close(): Promise<void>;
}

/** Entries kept in memory, so that the page and followers do not read the disk. */
const tailLength = 1000;

export async function openDecisionLog(options: {
  readonly directory: string;
  readonly repository: string;
  readonly clock: Clock;
  readonly onAppend?: (entry: LogEntry) => void;
  /** A file is closed and the next one begun when it is this long; the chain goes on. */
  readonly rotateBytes?: number;
}): Promise<DecisionLog> {
  const { directory, repository, clock, onAppend, rotateBytes = 16 * 1024 * 1024 } = options;
  const made = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (made !== undefined) await syncDirectory(dirname(directory));
  const files = await logFiles(directory);
  const newest = files.at(-1);
  // Not how many there are: old files may have been archived away.
  let number = newest === undefined ? 1 : fileNumber(newest);
  const newestFile = fileName(number);
  /** Bytes of a torn last line, while its repair is not noted. */
  let torn = await repairTornLine(join(directory, newestFile));
  const tail: LogEntry[] = await readTail(directory, files);
  // The largest seq, should the lines not be in order: no number is issued twice.
  let last: Pick<LogEntry, "seq" | "hash"> = {
    seq: Math.max(0, ...tail.map(({ seq }) => seq)),
    hash: tail.at(-1)?.hash ?? firstPrev,
  };
  let file = await (newest === undefined ? createFile(directory, number) : openFile(directory, number));
  let bytes = (await file.stat()).size;
  let turn: Promise<unknown> = Promise.resolve();
  let closed = false;
  let trouble: string | undefined;

  async function write(decision: Decision): Promise<LogEntry> {
    if (closed) throw new GatewayError("unavailable", "the decision log is closed: the gateway is stopping");
    const time = clock.now().toISOString();
    const { entry, line } = sealEntry(decision, {
      seq: last.seq + 1,
      time,
      repository,
      prev: last.hash,
    });
    const text = Buffer.from(`${line}\n`);
    try {
      if (bytes > 0 && bytes + text.length > rotateBytes) await rotate();
      await writeWhole(file, text);
    } catch (cause) {
      // Whatever part of the line reached the disk is taken back, so that the next line stands on its own.
      await file.truncate(bytes).catch(() => undefined);
      const message = `the decision cannot be written to "${directory}", so it was not made: ${(cause as Error).message}; free disk space or set store.path`;
      // Decisions are rare: whoever reads this later must see how old it is.
      trouble = `${message} (tried last at ${time})`;
      throw new GatewayError("conflict", message, { cause });
    }
    trouble = undefined;
    bytes += text.length;
    last = entry;
    tail.push(entry);
    if (tail.length > tailLength) tail.shift();
    onAppend?.(entry);
    return entry;
  }

  async function rotate(): Promise<void> {
    const full = file;
    file = await createFile(directory, number + 1);
    number++;
    bytes = 0;
    await full.close();
  }

  async function noteRepair(): Promise<void> {
    if (torn === 0) return;
    await write({
      type: "repair",
      model: null,
      from: null,
      to: null,
      trigger: "startup",
      actor: "gateway",
      reason: `a torn last line of ${torn} bytes, left by a crash, was cut off ${newestFile}`,
    });
    torn = 0;
  }

  // A full disk tears lines; it must not keep the gateway from starting, so the note may come with the next decision.
  await noteRepair().catch(() => undefined);
  return {
    append(decision) {
      const mine = turn.then(noteRepair).then(() => write(decision));
      turn = mine.catch(() => undefined);
      return mine;
    },
    async read(after, limit) {
      const entries =
        (tail[0]?.seq ?? 1) <= after + 1
          ? tail.filter(({ seq }) => seq > after)
          : await readFrom(directory, after, limit);
      const page = entries.slice(0, limit);
      return { entries: page, next: page.at(-1)?.seq ?? after };
    },
    tail: (count) => tail.slice(-count),
    get lastSeq() {
      return last.seq;
    },
    get trouble() {
      return trouble;
    },
    async close() {
      if (closed) return;
      await turn;
      closed = true;
      await file.close();
    },
  };
}

/** O_SYNC: each write ends with its own fsync, in one call instead of two; live requests wait for less of this thread. */
const appending = constants.O_APPEND | constants.O_RDWR | constants.O_SYNC;

async function writeWhole(file: FileHandle, text: Uint8Array): Promise<void> {
  for (let at = 0; at < text.length;) at += (await file.write(text, at)).bytesWritten;
}

function openFile(directory: string, number: number): Promise<FileHandle> {
  return open(join(directory, fileName(number)), appending);
}

/** A new file, never one that is there already: what it holds would be cut off with the first line that fails. */
async function createFile(directory: string, number: number): Promise<FileHandle> {
  const path = join(directory, fileName(number));
  const file = await open(path, appending | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await syncDirectory(directory);
    return file;
  } catch (error) {
    await file.close();
    await rm(path);
    throw error;
  }
}

/** Cuts off a last line without its end of line; returns how many bytes went. */
async function repairTornLine(path: string): Promise<number> {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size === 0) return 0;
  const text = await readFile(path);
  const keep = text.lastIndexOf(0x0a) + 1;
  if (keep === size) return 0;
  await truncate(path, keep);
  return size - keep;
}

async function readTail(directory: string, files: readonly string[]): Promise<LogEntry[]> {
  let entries: LogEntry[] = [];
  // From the newest file back until there are enough; a chain that is broken further back is `log verify`'s to find.
  for (const file of files.toReversed()) {
    const older: LogEntry[] = [];
    for await (const line of linesOf(join(directory, file))) {
      const entry = openLine(line);
      if (typeof entry === "string") continue;
      older.push(entry);
      if (older.length > tailLength) older.shift();
    }
    entries = [...older, ...entries].slice(-tailLength);
    if (entries.length === tailLength) break;
  }
  return entries;
}

async function readFrom(directory: string, after: number, limit: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for (const file of await logFiles(directory)) {
    for await (const line of linesOf(join(directory, file))) {
      const entry = openLine(line);
      if (typeof entry === "string" || entry.seq <= after) continue;
      entries.push(entry);
      if (entries.length >= limit) return entries;
    }
  }
  return entries;
}
