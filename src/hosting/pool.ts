import type { Clock } from "../core/clock.ts";
import {
  HostLostError,
  type EngineInfo,
  type EngineRequest,
  type EngineResult,
  type HostLossReason,
  type Runner,
} from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { createCrashLoop } from "./crash-loop.ts";
import type { HostCores } from "./host-cores.ts";
import type { Instance } from "./instance.ts";
import { createJob, type Job } from "./job.ts";
import { createJobQueue } from "./job-queue.ts";
import type { HostPriority } from "./launch.ts";
import { delay } from "../core/delay.ts";
import { enlargeSpace, outputSpace } from "./slot-layout.ts";
import { startInstance } from "./start-instance.ts";
import { createWatchdogLimit } from "./watchdog-limit.ts";

export interface PoolOptions {
  /** For the log and for messages. */
  readonly label: { readonly model: string; readonly engine: string };
  readonly host: {
    /** Program and arguments. */
    readonly command: readonly string[];
    readonly workingDirectory: string;
    /** The whole environment of the hosts. */
    readonly env: Readonly<Record<string, string | undefined>>;
  };
  readonly artifact: { readonly path: string; readonly sha256: string };
  /** engine.yaml as an object; the hosts get it with LOAD. */
  readonly manifest: object;
  /** Of the engine, absolute. */
  readonly directory: string;
  readonly threads: number;
  readonly instances: { readonly min: number; readonly max: number };
  readonly priority: HostPriority;
  /** Where its hosts belong while they are loaded, if they do not all run anywhere. */
  readonly cores?: HostCores | undefined;
  /** Default: the larger of 1000 and 20 times the warm p99; 10 s at least for shadow hosts. */
  readonly watchdogMs?: number | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly onEvent?: (event: PoolEvent) => void;
  /** How long start-up of one host may take. Default 120. */
  readonly startTimeoutSeconds?: number;
  /** How long `close` waits for what is queued and running in serving hosts. Default 30. */
  readonly drainSeconds?: number;
  /** After which an instance above `instances.min` is taken away. Default 30. */
  readonly idleSeconds?: number;
  /** Where shared memory is made. Default /dev/shm. */
  readonly sharedMemoryDirectory?: string;
}

export type PoolEvent =
  | {
      readonly type: "lost";
      readonly instance: number;
      readonly reason: HostLossReason;
      readonly message: string;
    }
  | {
      readonly type: "restarted";
      readonly instance: number;
      readonly reason: HostLossReason;
      readonly seconds: number;
    }
  | { readonly type: "failed"; readonly message: string };

/** The host processes of one engine in one role. */
export interface Pool extends Runner {
  /**
   * Starts `instances.min` hosts.
   * @throws GatewayError `conflict` with the reason when the engine cannot be loaded, `unavailable` without shared memory
   */
  start(): Promise<EngineInfo>;
  /** Instances that are loaded and alive. */
  readonly healthy: number;
  /** Requests that wait for an instance. */
  readonly pending: number;
  /** Why the pool has given up; it must be closed and made anew. */
  readonly failure: string | undefined;
  /** Resident memory of all processes. */
  residentBytes(): number;
  /** The live processes: stable number in the pool, process id, resident memory. */
  readonly processes: readonly {
    readonly instance: number;
    readonly pid: number | undefined;
    readonly residentBytes: number;
  }[];
  /** PING's fields of every live instance, such as `deviceBytes`; a host that runs answers when it is done. */
  ping(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  /** Answers what is queued (not in the shadow), then unloads and ends every host. */
  close(): Promise<void>;
}

/** One place for an instance, with its number. */
interface Seat {
  readonly index: number;
  instance: Instance | undefined;
  starting: boolean;
  idleSinceSeconds: number;
}

/** A request that waits longer calls for another instance, where the pool may grow. */
const growAfterSeconds = 0.1;
let generation = 0;

export function createPool(options: PoolOptions): Pool {
  const { label, instances, priority, cores, clock, onEvent } = options;
  const { seconds } = clock;
  const log = options.log.child({ ...label, role: priority });
  const startTimeoutSeconds = options.startTimeoutSeconds ?? 120;
  const watchdog = createWatchdogLimit({
    watchdogMs: options.watchdogMs,
    shadow: priority === "shadow",
    coldSeconds: startTimeoutSeconds,
  });
  const crashLoop = createCrashLoop(seconds);
  const queue = createJobQueue();
  const seats: Seat[] = [];
  const closing = new AbortController();
  let closed: Promise<void> | undefined;
  let drained: (() => void) | undefined;
  let info: EngineInfo | undefined;
  let space: readonly number[] = [];
  let failure: string | undefined;
  let scaling: NodeJS.Timeout | undefined;

  const live = () => seats.filter((seat) => seat.instance !== undefined);
  const name = `engine "${label.engine}" of model "${label.model}"`;

  async function open(seat: Seat, warm: boolean): Promise<void> {
    generation += 1;
    const instance = await startInstance({
      ...options.host,
      ...options,
      index: seat.index,
      generation,
      log: log.child({ instance: seat.index }),
      sharedMemoryDirectory: options.sharedMemoryDirectory ?? "/dev/shm",
      startTimeoutSeconds,
      warm,
      signal: closing.signal,
      seconds,
      watchdogSeconds: watchdog.seconds,
      space: () => space,
      enlarge(output, bytes) {
        if (info !== undefined) space = enlargeSpace(info, space, output, bytes);
      },
      onInfo: learn,
      onAnswered(hostSeconds) {
        // Runs ahead of the first request are no evidence of health.
        if (seat.instance === undefined) return;
        if (hostSeconds !== undefined) watchdog.observe(hostSeconds);
        seat.idleSinceSeconds = seconds();
        crashLoop.served();
        dispatch();
      },
      onAgain: (job) => queue.unshift([job]),
      onLoss: (error) => void onLoss(seat, error),
    });
    seat.instance = instance;
    seat.idleSinceSeconds = seconds();
    if (instance.pid !== undefined) cores?.add(instance.pid, options.threads);
  }

  function end(instance: Instance): Promise<void> {
    if (instance.pid !== undefined) cores?.delete(instance.pid);
    return instance.end();
  }

  function learn(answer: EngineInfo): void {
    if (info === undefined) {
      info = answer;
      space = outputSpace(info);
    } else if (JSON.stringify(answer) !== JSON.stringify(info)) {
      throw new GatewayError("conflict", `${name} has other inputs or outputs than before; load it anew`);
    }
  }

  /** Starts the seat's host, again and again after losses. Rejects when it cannot or shall not be. */
  async function bring(seat: Seat, why: "start" | "growth" | HostLossReason): Promise<void> {
    let reason = why === "start" || why === "growth" ? undefined : why;
    let wait = 0;
    seat.starting = true;
    try {
      for (;;) {
        await delay(wait * 1000, closing.signal);
        if (failure !== undefined) throw new GatewayError("conflict", failure);
        const began = seconds();
        try {
          await open(seat, why !== "start" || reason !== undefined);
          if (reason !== undefined) {
            onEvent?.({ type: "restarted", instance: seat.index, reason, seconds: seconds() - began });
          }
          break;
        } catch (error) {
          if (closing.signal.aborted) throw error;
          // A file that does not match, an engine that refuses: only one that has run before may come back.
          if (reason === undefined && error instanceof GatewayError) throw error;
          reason = error instanceof HostLostError ? error.reason : "exited";
          wait = mourn(seat, reason, messageOf(error), false);
        }
      }
    } finally {
      seat.starting = false;
    }
    dispatch();
  }

  /** Counts a death. @returns seconds to wait. @throws GatewayError when it was one too many */
  function mourn(seat: Seat, reason: HostLossReason, message: string, started: boolean): number {
    log.warn({ instance: seat.index, reason }, message);
    onEvent?.({ type: "lost", instance: seat.index, reason, message });
    const wait = crashLoop.died({ started });
    if (wait !== undefined) return wait;
    fail(`its hosts were lost 5 times without a served request between; the last one ${message}`);
    throw new GatewayError("conflict", failure ?? message);
  }

  function fail(message: string): void {
    if (failure !== undefined) return;
    failure = message;
    log.error({}, `${name} has failed: ${message}`);
    onEvent?.({ type: "failed", message });
    for (const job of queue.splice())
      job.reject(new HostLostError("unavailable", `${name} has failed: ${message}`));
    for (const seat of live()) void retire(seat);
  }

  async function onLoss(seat: Seat, error: HostLostError): Promise<void> {
    const { instance } = seat;
    seat.instance = undefined;
    if (instance === undefined) return;
    const { running, waiting } = instance.abandon();
    void end(instance);
    running?.reject(error);
    queue.unshift(waiting);
    if (live().length === 0) {
      // Nothing here can answer them soon, maybe another engine can; who came knowing that waits for the restart.
      for (const job of queue.splice((waits) => !waits.patient)) {
        job.reject(new HostLostError("unavailable", `${name} lost its host before this request ran on it`));
      }
    }
    try {
      const wait = mourn(seat, error.reason, error.message, true);
      seat.starting = true;
      await delay(wait * 1000, closing.signal);
      await bring(seat, error.reason);
    } catch {
      // It has been told by `fail`, or the pool closes.
      seat.starting = false;
    }
    settle();
  }

  function dispatch(): void {
    for (let job = queue.first; job !== undefined; job = queue.first) {
      const instance = freest(job);
      if (instance === undefined) break;
      queue.shift();
      instance.run(job);
    }
    settle();
  }

  /** An idle instance rather than one that would let the job wait behind another. */
  function freest(job: Job): Instance | undefined {
    let best: Instance | undefined;
    for (const { instance } of seats) {
      if (instance === undefined || instance.inFlight >= (best?.inFlight ?? Infinity)) continue;
      if (instance.canTake(job)) best = instance;
    }
    return best;
  }

  /** Tells a waiting `close` when nothing is left to answer. */
  function settle(): void {
    if (drained === undefined || seats.some((seat) => (seat.instance?.inFlight ?? 0) > 0)) return;
    if (queue.length === 0 || live().length === 0) drained();
  }

  async function retire(seat: Seat): Promise<void> {
    const { instance } = seat;
    seat.instance = undefined;
    const { running, waiting } = instance?.abandon() ?? { running: undefined, waiting: [] };
    for (const job of running === undefined ? waiting : [running, ...waiting]) {
      job.reject(new HostLostError("unavailable", `${name} was unloaded`));
    }
    if (instance) await end(instance);
  }

  function scale(): void {
    const now = seconds();
    const oldest = queue.first;
    if (oldest !== undefined && now - oldest.enqueuedSeconds > growAfterSeconds) {
      if (seats.length < instances.max && seats.every((seat) => !seat.starting)) {
        const seat = addSeat();
        log.info({ instance: seat.index }, "grows, requests are waiting");
        bring(seat, "growth").catch((error: unknown) => {
          log.warn({ instance: seat.index, err: error }, "could not grow");
          seats.splice(seats.indexOf(seat), 1);
        });
      }
      return;
    }
    const last = seats.at(-1);
    if (last === undefined || seats.length <= instances.min || last.starting) return;
    if ((last.instance?.inFlight ?? 0) > 0 || now - last.idleSinceSeconds < (options.idleSeconds ?? 30))
      return;
    seats.pop();
    log.info({ instance: last.index }, "shrinks, it was idle");
    void retire(last);
  }

  function addSeat(): Seat {
    const seat = { index: seats.length, instance: undefined, starting: false, idleSinceSeconds: seconds() };
    seats.push(seat);
    return seat;
  }

  function infer(request: EngineRequest): Promise<EngineResult> {
    return new Promise((resolve, reject) => {
      const down = closed === undefined ? failure : "it is being unloaded";
      if (down !== undefined) throw new HostLostError("unavailable", `${name} is not available: ${down}`);
      if (info === undefined) throw new HostLostError("unavailable", `${name} is not loaded`);
      const job = createJob(info, request, {
        enqueuedSeconds: seconds(),
        patient: seats.every((seat) => seat.instance === undefined),
        resolve,
        reject,
        onCancel(cancelled) {
          queue.remove(cancelled);
          settle();
        },
      });
      queue.push(job);
      dispatch();
    });
  }

  async function close(): Promise<void> {
    clearInterval(scaling);
    // Nobody waits for what a shadow host is at, which on a busy machine may take it for ever.
    if (priority !== "shadow")
      await new Promise<void>((resolve) => {
        drained = resolve;
        setTimeout(resolve, (options.drainSeconds ?? 30) * 1000).unref();
        settle();
      });
    closing.abort();
    for (const job of queue.splice()) job.reject(new HostLostError("unavailable", `${name} was unloaded`));
    await Promise.all(seats.map(retire));
  }

  return {
    async start() {
      const opening = Array.from({ length: instances.min }, addSeat).map((seat) => bring(seat, "start"));
      const outcomes = await Promise.allSettled(opening);
      const refused = outcomes.find((outcome) => outcome.status === "rejected");
      if (refused !== undefined || info === undefined) {
        failure ??= refused === undefined ? "no instance was started" : messageOf(refused.reason);
        throw refused?.reason ?? new GatewayError("conflict", failure);
      }
      if (instances.max > instances.min) scaling = setInterval(scale, 50).unref();
      return info;
    },
    infer,
    get healthy() {
      // Asked for every request, so it makes no list.
      let healthy = 0;
      for (const { instance } of seats) if (instance !== undefined) healthy += 1;
      return healthy;
    },
    get pending() {
      return queue.length;
    },
    get failure() {
      return failure;
    },
    residentBytes: () => live().reduce((sum, { instance }) => sum + (instance?.residentBytes() ?? 0), 0),
    get processes() {
      return live().map(({ index, instance }) => ({
        instance: index,
        pid: instance?.pid,
        residentBytes: instance?.residentBytes() ?? 0,
      }));
    },
    ping: () => Promise.all(live().map(({ instance }) => (instance as Instance).ping())),
    close: () => (closed ??= close()),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
