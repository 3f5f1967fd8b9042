import { MessageChannel, receiveMessageOnPort, type MessagePort, type Worker } from "node:worker_threads";
import { originOf, type Clock } from "../core/clock.ts";
import { HostLostError, type Runner } from "../core/engine.ts";
import type { Log } from "../core/log.ts";
import { decodeError } from "../core/sent-error.ts";
import type { SpareTime } from "../core/spare-time.ts";
import { endThread, startThread } from "../core/worker-thread.ts";
import type { PoolEvent } from "../hosting/pool.ts";
import type { EnginePool } from "../models/engine.ts";
import type { FromThread, Request, SentPoolOptions, ThreadData, ToThread } from "./messages.ts";
import { createPoolProxy, type PoolProxy } from "./pool-proxy.ts";
import { packJobs, type Rows, unpackAnswers } from "./rows.ts";
import type { ShadowAnswer, ShadowJob } from "./run-job.ts";

/**
 * The thread that does shadow work, so that the one that serves only sends an input there and gets what came of it. It owns
 * the shadow hosts: writing to a host wakes another core, which costs whoever does it 0.1 ms and more on a virtual machine.
 */
export interface ShadowThread {
  /** A pool of hosts there. When the thread is lost, it has failed. */
  openPool(options: SentPoolOptions, onEvent: (event: PoolEvent) => void): EnginePool;
  /**
   * One job after another, an answer for each, made when it is asked for; the hosts are pools from here.
   * @throws Error when the thread ended, or was stuck and has been ended; it is started again with the next pool.
   */
  run(jobs: readonly ShadowJob<Runner>[]): Promise<Iterable<ShadowAnswer>>;
  /** Ends the thread, and its hosts with it. */
  close(): Promise<void>;
}

/** How often the thread is asked whether it is there while it has a job, and how long it has to say so. */
const usualLimitSeconds = 30;

/** What the thread has left to be read, and how much of it there is. */
interface AnswerBox {
  readonly port: MessagePort;
  readonly count: Int32Array;
}

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export function createShadowThread(options: {
  readonly load: SharedArrayBuffer;
  /** When answers are read. */
  readonly spareTime: SpareTime;
  readonly clock: Clock;
  readonly log: Log;
  readonly limitSeconds?: number;
}): ShadowThread {
  const { load, spareTime, clock, log, limitSeconds = usualLimitSeconds } = options;
  const calls = new Map<number, Call>();
  /** Those of the thread that runs now. */
  const pools = new Map<
    number,
    { readonly proxy: PoolProxy; readonly onEvent: (event: PoolEvent) => void }
  >();
  let worker: Worker | undefined;
  /** Answers to jobs of the thread that runs now. */
  let answers: AnswerBox | undefined;
  let lastCall = 0;
  let lastPool = 0;
  let jobs = 0;
  let closed = false;

  function start(): Worker {
    const { port1, port2 } = new MessageChannel();
    const count = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    answers = { port: port1, count: new Int32Array(count) };
    const data: ThreadData = { load, clockOrigin: originOf(clock), answers: port2, answered: count };
    const started = startThread("shadow-worker", import.meta.url, data, [port2]);
    started.on("message", (message: FromThread) => worker === started && take(message));
    started.on("messageerror", (error) => lose(started, error));
    started.on("error", (error) => lose(started, error));
    started.on("exit", () => lose(started, new Error("it ended")));
    watch(started);
    return started;
  }

  function take(message: FromThread): void {
    switch (message.type) {
      case "answer":
      case "error": {
        const call = calls.get(message.call);
        calls.delete(message.call);
        if (message.type === "answer") call?.resolve(message.value);
        else call?.reject(decodeError(message.error));
        break;
      }
      case "answered":
        while (hasAnswer()) takeAnswer();
        break;
      case "pool": {
        const known = pools.get(message.pool);
        known?.proxy.learn(message.state);
        if (message.event) known?.onEvent(message.event);
        break;
      }
      case "log":
        log[message.level](message.fields, message.message);
        break;
      default:
        message satisfies never;
    }
  }

  function hasAnswer(): boolean {
    return answers !== undefined && Atomics.load(answers.count, 0) > 0;
  }

  /** Read when there is time, where an event would come at any moment, and be more work than what it brings. */
  function takeAnswer(): void {
    if (!answers) return;
    Atomics.sub(answers.count, 0, 1);
    const received = receiveMessageOnPort(answers.port);
    if (received) take(received.message as FromThread);
  }

  function ask(to: Worker, request: Request): Promise<unknown> {
    lastCall += 1;
    const call = lastCall;
    return new Promise((resolve, reject) => {
      to.postMessage({ ...request, call } satisfies ToThread);
      // Only what was sent is waited for.
      calls.set(call, { resolve, reject });
    });
  }

  /** The hosts go with the thread that started them: the kernel kills them (see docs/engine-host.md). */
  function lose(which: Worker, error: Error): void {
    if (worker !== which) return;
    worker = undefined;
    answers?.port.close();
    answers = undefined;
    const lost = new HostLostError("exited", `the shadow thread was lost: ${error.message}`, {
      cause: error,
    });
    // Otherwise whoever waits for the job tells.
    if (jobs === 0 && !closed) log.error({ err: lost }, "the shadow thread was lost");
    const failed = { healthy: 0, pending: 0, failure: lost.message, processes: [] };
    for (const { proxy } of pools.values()) proxy.learn(failed);
    pools.clear();
    for (const call of [...calls.values()]) call.reject(lost);
    calls.clear();
    void which.terminate();
  }

  /**
   * A job may wait long for a slow host, whose own watchdog ends it, or for the processor; only a thread that does not even
   * answer is stuck. One timer for all jobs: making one for each would be most of what a job costs here.
   */
  function watch(which: Worker): void {
    let unanswered = false;
    const timer = setInterval(() => {
      if (worker !== which) return clearInterval(timer);
      if (unanswered) return lose(which, new Error(`it has not answered within ${limitSeconds} s`));
      if (jobs === 0) return;
      unanswered = true;
      const answered = () => void (unanswered = false);
      ask(which, { type: "ping" }).then(answered, answered);
    }, limitSeconds * 1000);
    timer.unref();
  }

  return {
    openPool(poolOptions, onEvent) {
      lastPool += 1;
      const proxy = createPoolProxy(lastPool, poolOptions, (request) => {
        if (closed) return Promise.reject(new HostLostError("unavailable", "the gateway is shutting down"));
        if (request.type === "start") {
          pools.set(proxy.pool, { proxy, onEvent });
          return ask((worker ??= start()), request);
        }
        if (!worker || !pools.has(proxy.pool))
          return Promise.reject(new HostLostError("unavailable", proxy.failure ?? "it is not loaded"));
        const asked = ask(worker, request);
        return request.type === "close" ? asked.finally(() => pools.delete(proxy.pool)) : asked;
      });
      return proxy;
    },
    async run(given) {
      const to = worker;
      if (!to) throw new HostLostError("unavailable", "the shadow thread has been lost");
      jobs += 1;
      try {
        const asked = ask(to, { type: "run", jobs: packJobs(given, (host) => (host as PoolProxy).pool) });
        let settled = false;
        const settle = () => void (settled = true);
        asked.then(settle, settle);
        void spareTime.wait(() => settled || hasAnswer()).then(() => settled || takeAnswer());
        return unpackAnswers((await asked) as Rows);
      } finally {
        jobs -= 1;
      }
    },
    async close() {
      closed = true;
      const last = worker;
      if (!last) return;
      lose(last, new Error("the gateway is shutting down"));
      await endThread(last);
    },
  };
}
