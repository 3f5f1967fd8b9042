import type { DifferenceSummary, OutputSummary } from "../compare/difference.ts";
import type { CompareOptions } from "../compare/options.ts";
import type { Tensor } from "../core/tensor.ts";
import type { RunComparison } from "./compare-runs.ts";
import type { JobRun, ShadowAnswer, ShadowJob } from "./run-job.ts";

/**
 * Jobs and answers on their way between the threads, as values in a row. By structured clone every object costs, most of it
 * for the names of its properties: eight answers are read in a fifth of the time so (docs/decisions.md, "Rows").
 */
export interface JobRows {
  readonly values: readonly unknown[];
  /** The jobs name theirs by place: those of one model have the same. */
  readonly options: readonly CompareOptions[];
}

export function packJobs<Host>(jobs: readonly ShadowJob<Host>[], numberOf: (host: Host) => number): JobRows {
  const values: unknown[] = [];
  const options = [...new Set(jobs.map((job) => job.options))];
  writeList(values, jobs, (job) => {
    writeList(values, job.hosts, (host) => values.push(numberOf(host)));
    writeTensors(values, job.inputs);
    writeTensors(values, job.reply);
    values.push(job.base, job.replied, options.indexOf(job.options), job.maxUtilization, job.patienceSeconds);
  });
  return { values, options };
}

export function unpackJobs<Host>(
  { values, options }: JobRows,
  hostOf: (number: number) => Host,
): ShadowJob<Host>[] {
  const row = new Row(values);
  return row.list(() => ({
    hosts: row.list(() => hostOf(row.next())),
    inputs: readTensors(row),
    reply: readTensors(row),
    base: row.next(),
    replied: row.next(),
    options: options[row.next()] as CompareOptions,
    maxUtilization: row.next(),
    patienceSeconds: row.next(),
  }));
}

export function packAnswers(answers: readonly ShadowAnswer[]): readonly unknown[] {
  const values: unknown[] = [];
  writeList(values, answers, ({ runs, busy, comparisons, error }) => {
    writeList(values, runs, (run) =>
      values.push(
        run.place,
        run.startedSeconds,
        run.endedSeconds,
        run.engineSeconds,
        run.overlapped,
        run.predicted,
        run.error,
      ),
    );
    writeList(values, comparisons, ({ reference, candidate, difference }) => {
      const { result, flip, undecided, kl, outputs } = difference;
      values.push(reference, candidate, result, flip, undecided, kl);
      writeList(values, outputs, (output) =>
        values.push(
          output.name,
          output.datatype,
          output.bitEqual,
          output.notComparable,
          output.cosine,
          output.absMax,
          output.relMax,
          output.ulpMax,
        ),
      );
    });
    values.push(busy, error);
  });
  return values;
}

// Properties of a literal are evaluated in the order they are written in: that of the row.
export function unpackAnswers(values: readonly unknown[]): ShadowAnswer[] {
  const row = new Row(values);
  const run = (): JobRun => ({
    place: row.next(),
    startedSeconds: row.next(),
    endedSeconds: row.next(),
    engineSeconds: row.next(),
    overlapped: row.next(),
    predicted: row.next(),
    error: row.next(),
  });
  const output = (): OutputSummary => ({
    name: row.next(),
    datatype: row.next(),
    bitEqual: row.next(),
    notComparable: row.next(),
    cosine: row.next(),
    absMax: row.next(),
    relMax: row.next(),
    ulpMax: row.next(),
  });
  const difference = (): DifferenceSummary => ({
    result: row.next(),
    flip: row.next(),
    undecided: row.next(),
    kl: row.next(),
    outputs: row.list(output),
  });
  const comparison = (): RunComparison => ({
    reference: row.next(),
    candidate: row.next(),
    difference: difference(),
  });
  return row.list(() => ({
    runs: row.list(run),
    comparisons: row.list(comparison),
    busy: row.next(),
    error: row.next(),
  }));
}

function writeTensors(values: unknown[], tensors: readonly Tensor[]): void {
  writeList(values, tensors, ({ name, datatype, shape, data }) => {
    values.push(name, datatype);
    writeList(values, shape, (size) => values.push(size));
    values.push(data);
  });
}

function readTensors(row: Row): Tensor[] {
  return row.list(() => ({
    name: row.next(),
    datatype: row.next(),
    shape: row.list<number>(() => row.next()),
    data: row.next(),
  }));
}

function writeList<T>(values: unknown[], items: readonly T[], write: (item: T) => void): void {
  values.push(items.length);
  for (const item of items) write(item);
}

/** Reads what was written, in the same order; the types are the reader's to know. */
class Row {
  readonly #values: readonly unknown[];
  #at = 0;

  constructor(values: readonly unknown[]) {
    this.#values = values;
  }

  /** Fits wherever it is put. */
  next(): never {
    const value = this.#values[this.#at];
    this.#at += 1;
    return value as never;
  }

  list<T>(read: () => T): T[] {
    const items: T[] = [];
    for (let left: number = this.next(); left > 0; left -= 1) items.push(read());
    return items;
  }
}
