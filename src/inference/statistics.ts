interface DurationStatistic {
  readonly count: number;
  readonly seconds: number;
}

/** Cumulative since the gateway started, clients' requests only: the numbers of Triton's statistics extension. */
export interface ModelStatistics {
  /** Milliseconds since the epoch; 0 before the first. */
  readonly lastInferenceMs: number;
  readonly success: DurationStatistic;
  readonly fail: DurationStatistic;
  readonly queue: DurationStatistic;
  readonly computeInput: DurationStatistic;
  readonly computeInfer: DurationStatistic;
  readonly computeOutput: DurationStatistic;
}

class Sum {
  count = 0;
  seconds = 0;
  add(seconds: number): void {
    this.count++;
    this.seconds += seconds;
  }
}

class Sums implements ModelStatistics {
  lastInferenceMs = 0;
  readonly success = new Sum();
  readonly fail = new Sum();
  readonly queue = new Sum();
  readonly computeInput = new Sum();
  readonly computeInfer = new Sum();
  readonly computeOutput = new Sum();
}

/** Request counts and times per model, kept as sums as V2 wants them; percentiles are the metrics' business. */
export class Statistics {
  #models = new Map<string, Sums>();

  /**
   * The whole request as its client saw it. Its parts are added in one go: perf_analyzer refuses statistics whose
   * counts differ.
   */
  answered(record: {
    readonly model: string;
    /** Of the reply; 400 and above is a failure. */
    readonly status: number;
    readonly answeredAtMs: number;
    readonly seconds: number;
    readonly queueSeconds: number;
    readonly engineSeconds: number;
    readonly decodeSeconds: number;
    readonly encodeSeconds: number;
  }): void {
    const sums = this.#of(record.model);
    if (record.status >= 400) return sums.fail.add(record.seconds);
    sums.lastInferenceMs = record.answeredAtMs;
    sums.success.add(record.seconds);
    sums.queue.add(record.queueSeconds);
    sums.computeInput.add(record.decodeSeconds);
    sums.computeInfer.add(record.engineSeconds);
    sums.computeOutput.add(record.encodeSeconds);
  }

  of(model: string): ModelStatistics {
    return this.#models.get(model) ?? new Sums();
  }

  forget(model: string): void {
    this.#models.delete(model);
  }

  #of(model: string): Sums {
    let sums = this.#models.get(model);
    if (!sums) this.#models.set(model, (sums = new Sums()));
    return sums;
  }
}
