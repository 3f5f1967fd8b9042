import type { DifferenceSummary, OutputSummary } from "../compare/difference.ts";
import type { Tensor } from "../core/tensor.ts";
import type { RunComparison } from "./compare-runs.ts";
import type { JobRun, ShadowAnswer, ShadowJob } from "./run-job.ts";

/**
 * Jobs and answers on their way between the threads: numbers in a row, and of everything else a place in a table, once
 * each. By structured clone every object costs, most of it for the names of its properties, and what has been read and
 * waits to be told of is gone through by each of V8's short collections. docs/decisions.md, "Spare time".
 */
export interface Rows {
  readonly numbers: Float64Array;
  readonly table: readonly unknown[];
}

export function packJobs<Host>(jobs: readonly ShadowJob<Host>[], numberOf: (host: Host) => number): Rows {
  const rows = new RowsWriter();
  rows.list(jobs, (job) => {
    rows.list(job.hosts, (host) => rows.number(numberOf(host)));
    writeTensors(rows, job.inputs);
    writeTensors(rows, job.reply);
    rows.other(job.base);
    rows.other(job.replied);
    rows.other(job.options);
    rows.number(job.maxUtilization);
    rows.number(job.idleSeconds);
    rows.number(job.patienceSeconds);
  });
  return rows.end();
}

// Properties of a literal are evaluated in the order they are written in: that of the rows.
export function unpackJobs<Host>(packed: Rows, hostOf: (number: number) => Host): ShadowJob<Host>[] {
  const rows = new RowsReader(packed);
  return rows.list(() => ({
    hosts: rows.list(() => hostOf(rows.number())),
    inputs: readTensors(rows),
    reply: readTensors(rows),
    base: rows.other(),
    replied: rows.other(),
    options: rows.other(),
    maxUtilization: rows.number(),
    idleSeconds: rows.number(),
    patienceSeconds: rows.number(),
  }));
}

export function packAnswers(answers: readonly ShadowAnswer[]): Rows {
  const rows = new RowsWriter();
  rows.list(answers, ({ runs, busy, comparisons, error }) => {
    rows.list(runs, (run) => {
      rows.number(run.place);
      rows.number(run.startedSeconds);
      rows.number(run.endedSeconds);
      rows.number(run.engineSeconds);
      rows.other(run.overlapped);
      rows.other(run.predicted);
      rows.other(run.error);
    });
    rows.list(comparisons, ({ reference, candidate, difference }) => {
      rows.number(reference);
      rows.number(candidate);
      rows.other(difference.result);
      rows.other(difference.flip);
      rows.other(difference.undecided);
      // Without one NaN is a divergence, too, so that it cannot stand for none.
      rows.other(difference.kl === undefined);
      rows.number(difference.kl ?? Number.NaN);
      rows.list(difference.outputs, (output) => {
        rows.other(output.name);
        rows.other(output.datatype);
        rows.other(output.bitEqual);
        rows.number(output.notComparable);
        rows.number(output.cosine);
        rows.number(output.absMax);
        rows.number(output.relMax);
        rows.number(output.ulpMax);
      });
    });
    rows.other(busy);
    rows.other(error);
  });
  return rows.end();
}

/** One after another, so that an answer is not there before it is told of. */
export function* unpackAnswers(packed: Rows): Generator<ShadowAnswer, undefined> {
  const rows = new RowsReader(packed);
  for (let left = rows.number(); left > 0; left -= 1)
    yield {
      runs: rows.list(() => readRun(rows)),
      comparisons: rows.list(() => readComparison(rows)),
      busy: rows.other(),
      error: rows.other(),
    };
}

function readRun(rows: RowsReader): JobRun {
  return {
    place: rows.number(),
    startedSeconds: rows.number(),
    endedSeconds: rows.number(),
    engineSeconds: rows.number(),
    overlapped: rows.other(),
    predicted: rows.other(),
    error: rows.other(),
  };
}

function readComparison(rows: RowsReader): RunComparison {
  return { reference: rows.number(), candidate: rows.number(), difference: readDifference(rows) };
}

function readDifference(rows: RowsReader): DifferenceSummary {
  const [result, flip, undecided] = [rows.other(), rows.other(), rows.other()] as const;
  const isWithout: boolean = rows.other();
  const kl = rows.number();
  const outputs = rows.list(() => readOutput(rows));
  return { result, flip, undecided, kl: isWithout ? undefined : kl, outputs };
}

function readOutput(rows: RowsReader): OutputSummary {
  return {
    name: rows.other(),
    datatype: rows.other(),
    bitEqual: rows.other(),
    notComparable: rows.number(),
    cosine: rows.number(),
    absMax: rows.number(),
    relMax: rows.number(),
    ulpMax: rows.number(),
  };
}

function writeTensors(rows: RowsWriter, tensors: readonly Tensor[]): void {
  rows.list(tensors, ({ name, datatype, shape, data }) => {
    rows.other(name);
    rows.other(datatype);
    rows.list(shape, (size) => rows.number(size));
    rows.other(data);
  });
}

function readTensors(rows: RowsReader): Tensor[] {
  return rows.list(() => ({
    name: rows.other(),
    datatype: rows.other(),
    shape: rows.list(() => rows.number()),
    data: rows.other(),
  }));
}

class RowsWriter {
  readonly #numbers: number[] = [];
  readonly #table: unknown[] = [];
  readonly #places = new Map<unknown, number>();

  number(value: number): void {
    this.#numbers.push(value);
  }

  other(value: unknown): void {
    let place = this.#places.get(value);
    if (place === undefined) {
      place = this.#table.push(value) - 1;
      this.#places.set(value, place);
    }
    this.#numbers.push(place);
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.#numbers.push(items.length);
    for (const item of items) write(item);
  }

  end(): Rows {
    return { numbers: Float64Array.from(this.#numbers), table: this.#table };
  }
}

/** Reads what was written, in the same order. */
class RowsReader {
  readonly #rows: Rows;
  #at = 0;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  number(): number {
    const value = this.#rows.numbers[this.#at];
    this.#at += 1;
    return value as number;
  }

  /** Of the type that was written there: fits wherever it is put. */
  other(): never {
    return this.#rows.table[this.number()] as never;
  }

  list<T>(read: () => T): T[] {
    const items: T[] = [];
    for (let left = this.number(); left > 0; left -= 1) items.push(read());
    return items;
  }
}
