import { setImmediate } from "node:timers/promises";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { blockThread } from "../core/block-thread.ts";
import { clockFrom } from "../core/clock.ts";
import { HostLostError, type Runner } from "../core/engine.ts";
import { coreSplit } from "../core/cores.ts";
import { makeThreadIdle } from "../core/idle-thread.ts";
import { LiveLoadCounter } from "../core/live-load.ts";
import type { Log } from "../core/log.ts";
import { encodeError } from "../core/sent-error.ts";
import { watchCpuLoad } from "../devices/cpu-load.ts";
import { createPool, type Pool, type PoolEvent } from "../hosting/pool.ts";
import { createIdleGate } from "./idle-gate.ts";
import type { FromThread, Request, SentPoolOptions, ThreadData, ToThread } from "./messages.ts";
import { packAnswers, type Rows, unpackJobs } from "./rows.ts";
import { restSeconds, runJob, type ShadowAnswer } from "./run-job.ts";

makeThreadIdle();

const port = parentPort as MessagePort;
const data = workerData as ThreadData;
const clock = clockFrom(data.clockOrigin);
const load = new LiveLoadCounter(data.load);
const cpu = watchCpuLoad({ clock });
/**
 * Waking hosts costs live requests even when they are idle-class, and so does looking for idle moments, unless shadow work
 * has cores of its own.
 */
const { mostDuty, pollMs } = coreSplit() ? { mostDuty: 0.95, pollMs: 0.1 } : { mostDuty: 0.75, pollMs: 0.2 };
const gate = createIdleGate({ load, pollMs, utilization: () => cpu.utilization, seconds: clock.seconds });
const parts = { gate, load, clock };
const notRun: ShadowAnswer = { runs: [], busy: true, comparisons: [], error: undefined };
const pools = new Map<number, Pool>();
/** How long this thread dozes after a job, and how long it is deaf meanwhile. */
const dozeSeconds = 0.1;
const deafMs = 1;
const answered = new Int32Array(data.answered);
/** Since when there are answers that have not been taken. */
let leftSeconds = -Infinity;
const mostLeftSeconds = 0.025;
const reminderMs = 2;
let reminder: NodeJS.Timeout | undefined;
let turn: Promise<unknown> = Promise.resolve();
let waiting = 0;

function send(message: FromThread): void {
  port.postMessage(message);
}

function logWith(fields: object): Log {
  const at = (level: Exclude<keyof Log, "child">) => (own: object, message: string) =>
    send({ type: "log", level, fields: { ...fields, ...own }, message });
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (more) => logWith({ ...fields, ...more }),
  };
}

function tell(number: number, pool: Pool, event?: PoolEvent): void {
  const processes = pool.processes.map(({ instance, pid }) => ({ instance, pid }));
  const { healthy, pending, failure } = pool;
  send({ type: "pool", pool: number, state: { healthy, pending, failure, processes }, event });
}

/** Does it, and tells what has become of the pool before who asked is answered. */
async function tellAfter<T>(number: number, pool: Pool, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } finally {
    tell(number, pool);
  }
}

function start(number: number, options: SentPoolOptions): Promise<unknown> {
  const onEvent = (event: PoolEvent) => tell(number, pool, event);
  const pool = createPool({ ...options, clock, log: logWith({}), onEvent });
  pools.set(number, pool);
  return tellAfter(number, pool, pool.start());
}

async function close(number: number): Promise<void> {
  const pool = pools.get(number);
  pools.delete(number);
  if (pool) await tellAfter(number, pool, pool.close());
}

/** One that was closed meanwhile is away, as one that restarts is. */
function runnerOf(number: number): Runner {
  const away = () => Promise.reject(new HostLostError("unavailable", "the engine was unloaded"));
  return pools.get(number) ?? { infer: away };
}

/** One job at a time, and a rest after each. Where no idle moment came for one, the rest of those sent with it has waited as long. */
function run(rows: Rows): Promise<Rows> {
  const jobs = unpackJobs(rows, runnerOf);
  waiting += jobs.length;
  const done = turn.then(async () => {
    const answers: ShadowAnswer[] = [];
    for (const job of jobs) {
      const last = answers.at(-1);
      if (last) await doze(restSeconds(last.runs, mostDuty));
      waiting -= 1;
      answers.push(last?.busy === true ? notRun : await runJob(job, parts));
    }
    return answers;
  });
  turn = done.then((answers) => doze(restSeconds(answers.at(-1)?.runs ?? [], mostDuty)));
  return done.then(packAnswers);
}

/**
 * Rests, then waits for the next job, by looking for it: a thread that waited for a message would have to be woken by the
 * one that serves. After a while without a job it does.
 */
async function doze(rest: number): Promise<void> {
  const rested = clock.seconds() + rest;
  for (;;) {
    const now = clock.seconds();
    const left = now < rested ? rested - now : waiting > 0 ? 0 : rested + dozeSeconds - now;
    if (left <= 0) return;
    blockThread(Math.min(deafMs, left * 1000));
    await setImmediate();
  }
}

function answer(request: Request): Promise<unknown> {
  switch (request.type) {
    case "start":
      return start(request.pool, request.options);
    case "infer":
      return runnerOf(request.pool).infer(request.request);
    case "close":
      return close(request.pool);
    case "run":
      return run(request.jobs);
    case "ping":
      return Promise.resolve();
    default:
      return request satisfies never;
  }
}

/** Answers to jobs are left for the thread that serves, which looks for them whenever it has answered a request. */
function leave(message: FromThread): void {
  data.answers.postMessage(message);
  if (Atomics.add(answered, 0, 1) === 0) leftSeconds = clock.seconds();
  reminder ??= setTimeout(remind, reminderMs);
}

/** Where no request comes, or one takes long, it is told. */
function remind(): void {
  reminder = undefined;
  if (Atomics.load(answered, 0) === 0) return;
  const soon = load.inFlight > 0 && clock.seconds() - leftSeconds < mostLeftSeconds;
  if (soon) reminder = setTimeout(remind, reminderMs);
  else send({ type: "answered" });
}

port.on("message", (message: ToThread) => {
  const { call } = message;
  const reply = message.type === "run" ? leave : send;
  answer(message).then(
    (value) => reply({ type: "answer", call, value }),
    (error: unknown) => reply({ type: "error", call, error: encodeError(error) }),
  );
});

// What cannot be read has no call to answer: the thread ends, and with it everything that waits for it.
port.on("messageerror", (error) => {
  throw error;
});
