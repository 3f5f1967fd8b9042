import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { KnownDecision } from "../../store/known-decisions.ts";
import { firstPrev, openLine, type LogEntry } from "./entry.ts";
import { lossToldIn } from "./log-end.ts";

export interface LogFault {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  readonly problem: string;
}

export interface LogCheck {
  readonly entries: number;
  readonly files: number;
  readonly lastHash: string;
  readonly faults: readonly LogFault[];
}

/** Files of a decision log in order: decisions-000001.jsonl, decisions-000002.jsonl, ... */
export async function logFiles(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names
    .filter((name) => /^decisions-\d{6,}\.jsonl$/.test(name))
    .toSorted((a, b) => fileNumber(a) - fileNumber(b));
}

/**
 * Checks the whole chain: every changed, missing or reordered line is a fault; so is a decision that is known from
 * elsewhere and not here, since a cut-off end leaves a chain that is whole.
 */
export async function verifyLog(directory: string, known: readonly KnownDecision[] = []): Promise<LogCheck> {
  const files = await logFiles(directory);
  const faults: LogFault[] = [];
  let entries = 0;
  let last: Pick<LogEntry, "seq" | "hash"> = { seq: 0, hash: firstPrev };
  const hashes = new Map<number, string>();
  const asked = new Set(known.map(({ seq }) => seq));
  let end = { file: fileName(1), line: 0 };
  let expected = 1;
  for (const file of files) {
    if (file !== fileName(expected))
      faults.push({ file, line: 0, problem: `file ${fileName(expected)} is missing` });
    expected = fileNumber(file) + 1;
    let number = 0;
    for await (const line of linesOf(join(directory, file))) {
      number++;
      const fault = (problem: string) => faults.push({ file, line: number, problem });
      const entry = openLine(line);
      if (typeof entry === "string") {
        fault(entry);
        continue;
      }
      entries++;
      if (entry.seq !== last.seq + 1)
        fault(`seq ${entry.seq} follows ${last.seq}: lines are missing or reordered`);
      if (entry.prev !== last.hash)
        fault(`prev does not match the line before: a line is missing, reordered or changed`);
      const loss = lossToldIn(entry);
      if (loss !== undefined) fault(loss);
      if (asked.has(entry.seq)) hashes.set(entry.seq, entry.hash);
      last = entry;
    }
    end = { file, line: number };
  }
  for (const { where, seq, hash } of known) {
    const own = hashes.get(seq);
    if (seq > last.seq)
      faults.push({ ...end, problem: `the log ends with seq ${last.seq}, but ${where} knows of ${seq}` });
    else if (own !== undefined && hash !== undefined && own !== hash)
      faults.push({
        ...end,
        problem: `decision ${seq} is another one in ${where}: the log was begun anew or sealed anew`,
      });
  }
  return { entries, files: files.length, lastHash: last.hash, faults };
}

export function fileName(number: number): string {
  return `decisions-${String(number).padStart(6, "0")}.jsonl`;
}

export function fileNumber(name: string): number {
  return Number(name.replaceAll(/\D/g, ""));
}

/** By line feeds alone: from Node 24 on readline ends a line at U+2028 and U+2029 too, which JSON writes as they are. */
export async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of createReadStream(path, "utf8")) {
    const lines = `${rest}${chunk as string}`.split("\n");
    rest = lines.pop() as string;
    yield* lines;
  }
  if (rest !== "") yield rest;
}
