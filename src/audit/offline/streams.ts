import { clopperPearsonUpper } from "../../compare/statistics/clopper-pearson.ts";
import type { Random } from "../../compare/statistics/random.ts";
import type { Clock } from "../../core/clock.ts";
import type { Runner } from "../../core/engine.ts";
import type { ReportEngine } from "../report/schema.ts";
import type { AuditInput } from "./inputs.ts";

type Streams = NonNullable<ReportEngine["streams"]>;
type Step = NonNullable<Streams["held"]>;

export interface StreamsOptions {
  /** Each stream sends one frame a period and wants its answer within it: the model's deadline. */
  readonly periodSeconds: number;
  /** Largest share of late answers. */
  readonly targetMissRatio: number;
  /** A step that would end later is not begun. */
  readonly limitSeconds: number;
  readonly inputs: readonly AuditInput[];
  readonly random: Random;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
}

/** An overload of 1 % is a whole period late after 100 of them. */
const fewestPeriods = 200;
/** Late answers that leave the bound below the target: a single one of the machine's own must not decide. */
const allowedMisses = 2;
/** A frame that goes out this share of a period after it was due was sent late: what is left would not be the engine's own. */
const lateSendRatio = 0.1;
/** A timer may wake so much later than asked for. */
const timerSlackSeconds = 0.002;

/**
 * How many streams an engine holds, by sending them: twice as many until too many answers are late, then between. Frames
 * are sent by the clock, whether or not earlier ones were answered, and an answer's time counts from when its frame was due,
 * so that waiting and a late sender both count. Where the sender alone was late too often, nothing was learnt of the engine.
 */
export async function mostStreams(runner: Runner, options: StreamsOptions): Promise<Streams> {
  const { periodSeconds, targetMissRatio, limitSeconds, clock } = options;
  // No number of requests proves that none will ever be late.
  const requests = targetMissRatio > 0 ? requestsToJudge(targetMissRatio) : Infinity;
  const end = clock.seconds() + limitSeconds;
  let held: Step | null = null;
  let notHeld: Step | null = null;
  let unknownReason: string | null = null;
  for (let streams = 1; ;) {
    const periods = Math.max(fewestPeriods, Math.ceil(requests / streams));
    if (clock.seconds() + periods * periodSeconds > end) {
      if (notHeld === null) unknownReason = tooShort(targetMissRatio);
      break;
    }
    const { senderLate, ...step } = await runStep(runner, streams, periods, options);
    if (step.missUpperBoundRatio <= targetMissRatio) held = step;
    else if (senderLate) {
      notHeld = null;
      unknownReason = "the sender was late";
      break;
    } else notHeld = step;
    const most: number = held?.streams ?? 0;
    if (notHeld === null) streams = 2 * most;
    else if (notHeld.streams - most > 1) streams = Math.floor((notHeld.streams + most) / 2);
    else break;
  }
  return { periodSeconds, targetMissRatio, held, notHeld, unknownReason };
}

/** One number of streams, each with its own phase. Ends early when the target cannot be met any more. */
async function runStep(
  runner: Runner,
  streams: number,
  periods: number,
  { periodSeconds, targetMissRatio, inputs, random, clock, signal }: StreamsOptions,
): Promise<Step & { senderLate: boolean }> {
  const phases = Array.from({ length: streams }, () => random.next()).sort((a, b) => a - b);
  const requests = streams * periods;
  const most = mostMisses(requests, targetMissRatio);
  const open = new Map<number, Promise<void>>();
  let misses = 0;
  let lateSends = 0;
  const start = clock.seconds();
  const due = (frame: number) =>
    start + (Math.floor(frame / streams) + (phases[frame % streams] as number)) * periodSeconds;
  const isLate = (frame: number) => clock.seconds() - due(frame) > periodSeconds;
  const ask = async (frame: number): Promise<void> => {
    const { tensors } = inputs[frame % inputs.length] as AuditInput;
    const answered = await runner.infer({ inputs: tensors }).then(
      () => true,
      () => false,
    );
    if (!answered || isLate(frame)) misses += 1;
    open.delete(frame);
  };
  let sent = 0;
  for (; sent < requests; sent += 1) {
    signal?.throwIfAborted();
    await until(due(sent), clock);
    if (clock.seconds() - due(sent) > lateSendRatio * periodSeconds) lateSends += 1;
    // Those that are late already and still wait count too: far too many would have to be waited for.
    if (misses + [...open.keys()].filter(isLate).length > most) break;
    open.set(sent, ask(sent));
  }
  await Promise.all(open.values());
  const senderLate = lateSends > most;
  return { streams, requests: sent, misses, missUpperBoundRatio: bound(misses, sent), senderLate };
}

/** Of so many requests, how many may be late. */
function mostMisses(requests: number, targetMissRatio: number): number {
  let most = 0;
  while (most < requests && bound(most + 1, requests) <= targetMissRatio) most += 1;
  return most;
}

function bound(misses: number, requests: number): number {
  return clopperPearsonUpper(misses, requests, 0.95);
}

/** Requests after which a few late ones still prove the target. */
function requestsToJudge(targetMissRatio: number): number {
  let n = 1;
  while (bound(allowedMisses, n) > targetMissRatio) n = Math.ceil(n * 1.02 + 1);
  return n;
}

function tooShort(targetMissRatio: number): string {
  return targetMissRatio > 0
    ? "the time was too short"
    : "no number of requests proves that none is ever late";
}

/** Turns of the event loop are exact and let answers in, but keep a core busy: the last moments pass in them. */
async function until(due: number, clock: Clock): Promise<void> {
  const left = () => due - clock.seconds();
  const idle = Math.floor((left() - timerSlackSeconds) * 1000);
  if (idle > 0) await new Promise((resolve) => setTimeout(resolve, idle));
  while (left() > 0) await new Promise((resolve) => setImmediate(resolve));
}
