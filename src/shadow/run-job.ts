import { decidedClass } from "../compare/classification.ts";
import type { CompareOptions } from "../compare/options.ts";
import type { Clock } from "../core/clock.ts";
import { HostLostError, type Runner } from "../core/engine.ts";
import type { LiveLoad } from "../core/live-load.ts";
import { encodeError, type SentError } from "../core/sent-error.ts";
import type { Tensor } from "../core/tensor.ts";
import { compareRuns, type RunComparison } from "./compare-runs.ts";
import type { GateTerms, IdleGate } from "./idle-gate.ts";

/** What is to be run on one served input and compared. Plain data, but for the hosts, which between threads are numbers. */
export interface ShadowJob<Host> extends GateTerms {
  /** In the order in which they are to run; places are those of this list. */
  readonly hosts: readonly Host[];
  readonly inputs: readonly Tensor[];
  /** What the client was answered. */
  readonly reply: readonly Tensor[];
  /** Place of the engine that the others are compared with, and of the one that answered the client. */
  readonly base: number | undefined;
  readonly replied: number | undefined;
  readonly options: CompareOptions;
}

/** What came of a job; plain data. */
export interface ShadowAnswer {
  /** In the order they ran in; an engine whose hosts are away has none. */
  readonly runs: readonly JobRun[];
  /** No idle moment came for the rest of the runs. */
  readonly busy: boolean;
  readonly comparisons: readonly RunComparison[];
  /** Why the runs could not be compared. */
  readonly error: SentError | undefined;
}

export interface JobRun {
  readonly place: number;
  readonly startedSeconds: number;
  readonly endedSeconds: number;
  readonly engineSeconds: number;
  /** A live request was answered meanwhile: the outputs count, the time does not. */
  readonly overlapped: boolean;
  /** The class that a classifier decided for, if it did for one. */
  readonly predicted: number | null;
  readonly error: SentError | undefined;
}

/** Runs the job's engines one after another, each when the gate lets it through, and compares what they gave. Never rejects. */
export async function runJob(
  job: ShadowJob<Runner>,
  parts: { readonly gate: IdleGate; readonly load: LiveLoad; readonly clock: Clock },
): Promise<ShadowAnswer> {
  const { gate, load, clock } = parts;
  const runs: JobRun[] = [];
  const outputs: (readonly Tensor[] | undefined)[] = job.hosts.map(() => undefined);

  /** Undefined when the engine cannot run now, which says nothing about the others. */
  async function runOne(runner: Runner, place: number): Promise<Omit<JobRun, "predicted"> | undefined> {
    const { begun } = load;
    const startedSeconds = clock.seconds();
    try {
      const result = await runner.infer({ inputs: job.inputs });
      const overlapped = load.begun !== begun || load.inFlight > 0;
      const endedSeconds = clock.seconds();
      outputs[place] = result.outputs;
      const { engineSeconds } = result;
      return { place, startedSeconds, endedSeconds, engineSeconds, overlapped, error: undefined };
    } catch (thrown) {
      if (thrown instanceof HostLostError && thrown.reason === "unavailable") return undefined;
      const failed = { engineSeconds: Number.NaN, overlapped: true, error: encodeError(thrown) };
      return { place, startedSeconds, endedSeconds: clock.seconds(), ...failed };
    }
  }

  let busy = false;
  for (const [place, runner] of job.hosts.entries()) {
    busy = !(await gate.wait(job));
    if (busy) break;
    const run = await runOne(runner, place);
    // All outputs come in the engine's order, and a classifier's scores are its first.
    const scores = job.options.task === "classification" ? outputs[place]?.[0] : undefined;
    if (run) runs.push({ ...run, predicted: scores ? decidedClass(scores) : null });
  }
  try {
    return { runs, busy, comparisons: compareRuns(outputs, job), error: undefined };
  } catch (thrown) {
    return { runs, busy, comparisons: [], error: encodeError(thrown) };
  }
}

const mostRestSeconds = 5;

/**
 * How long the machine is left to live requests after these: what runs for long, as on a busy machine, comes seldom.
 * @param mostDuty share of the time that shadow runs may take, above 0, at most 1
 */
export function restSeconds(
  runs: readonly Pick<JobRun, "startedSeconds" | "endedSeconds">[],
  mostDuty: number,
): number {
  const spentSeconds = runs.reduce((sum, run) => sum + run.endedSeconds - run.startedSeconds, 0);
  return Math.min(mostRestSeconds, spentSeconds * (1 / mostDuty - 1));
}
