import type { DifferenceSummary } from "../compare/difference.ts";
import type { CompareOptions } from "../compare/options.ts";
import type { Clock } from "../core/clock.ts";
import { type CoreSplit, fitShadow } from "../core/cores.ts";
import { isInTurns, type Runner } from "../core/engine.ts";
import type { LiveLoad } from "../core/live-load.ts";
import type { Log } from "../core/log.ts";
import { decodeError } from "../core/sent-error.ts";
import { createSlices } from "../core/slices.ts";
import type { SpareTime } from "../core/spare-time.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import { FairQueue } from "./fair-queue.ts";
import { type PaceName, Pacer, paces } from "./pace.ts";
import type { JobRun, ShadowAnswer, ShadowJob } from "./run-job.ts";
import { SpareMemory } from "./spare-memory.ts";

/**
 * Why a served input was not shadowed, or not by all; a metric label, so the set is closed. engines_away: fewer than two
 * engines could run. no_reference: there were runs, but nothing to compare them with. failed: what came of the runs was
 * lost, as by a comparison that failed. paced: as many as tell anything were taken (see pace.ts).
 */
export type DropReason =
  | "sampled_out"
  | "paced"
  | "queue_full"
  | "busy"
  | "stale"
  | "engines_away"
  | "no_reference"
  | "failed";

/** A request that was answered, as far as its shadow needs it. */
export interface ShadowedRequest {
  readonly id: string;
  readonly model: Model;
  readonly engine: Engine;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Chosen by the client, so not shadowed. */
  readonly pinned: boolean;
  readonly traceParent: string | undefined;
}

/** One run of one engine on a served input. */
export interface ShadowRun extends Omit<JobRun, "place" | "error"> {
  readonly engine: Engine;
  readonly role: "control" | "shadow";
  /** Why it gave no outputs. */
  readonly error: Error | undefined;
}

/** Of a run with the reference's (the active one's without it), or of an engine's run with its own reply to the client. */
export interface ShadowComparison {
  readonly reference: Engine;
  readonly candidate: Engine;
  readonly difference: DifferenceSummary;
}

export interface Shadow {
  /** Takes a served request, or drops it; never waits. */
  offer(served: ShadowedRequest): void;
  /** Starts the shadow instances of a model's engines before they are needed. */
  prepare(model: Model): void;
  readonly length: number;
  /** Begins nothing more, and takes no answer to what is being run. */
  close(): void;
}

/** An input waits at most this long for its runs to begin. */
const patienceSeconds = 5;
/**
 * Where shadow work has cores of its own and inputs pile up, an idle moment is worth waiting for this long. At half load one
 * lasts a fraction of a millisecond and comes every few: runs waited longer than they took (docs/decisions.md).
 */
const piledUpIdleSeconds = 0.0015;
/** What waits for an idle moment holds its tensors, of all models together: room for 64 inputs of a large picture each. */
const mostWaitingBytes = 256 * 1024 * 1024;
/** Of memory for what waits that is kept while nothing does. */
const mostSpareBytes = 32 * 1024 * 1024;
/**
 * Inputs that are sent there and told of together: the second costs the thread that serves half as much as the first, whose
 * code and data live requests have pushed out of its caches. Fewer wait for more.
 */
const mostTogether = 12;
const mostGatherMs = 60;
/** What is large or takes long gains little by it, holds memory, and is told of late. */
const mostTogetherBytes = 1024 * 1024;
const mostTogetherSeconds = 0.2;
/** Such lots at a time: the shadow thread runs one, while what came of the one before is told and the next is sent there. */
const mostAtOnce = 2;
/** A shadow instance that did not load is tried again after this time. */
const retrySeconds = 60;

export function createShadow(options: {
  /** Runs and compares one after another, in the shadow thread; an answer for each. */
  readonly run: (jobs: readonly ShadowJob<Runner>[]) => Promise<Iterable<ShadowAnswer>>;
  /** How outputs of the model are to be compared now. */
  readonly compareOptions: (model: Model) => CompareOptions;
  /** The runs on one served input, in the random order they ran in. */
  readonly onRuns: (served: ShadowedRequest, runs: readonly ShadowRun[]) => void;
  /** Then each of the comparisons that came of them. */
  readonly onCompared: (served: ShadowedRequest, comparison: ShadowComparison) => void;
  /** A shadow instance came up, at start or when it was first needed; it is given no input before this has ended. */
  readonly onStarted: (model: Model, engine: Engine) => Promise<void>;
  /** Those that were paced, which are nearly all where requests are many, are told of together, once a second. */
  readonly onDropped: (model: string, reason: DropReason, count: number) => void;
  readonly random: () => number;
  /** Live requests, of which a share is taken. */
  readonly live: Pick<LiveLoad, "begun">;
  /** How the processor's cores are shared out, if they are. */
  readonly cores: CoreSplit | undefined;
  /** What this thread does of it is done between live requests: a compared input is as much work as one of those. */
  readonly spareTime: SpareTime;
  readonly clock: Clock;
  readonly log: Log;
}): Shadow {
  const {
    run,
    compareOptions,
    onRuns,
    onCompared,
    onStarted,
    onDropped,
    random,
    live,
    cores,
    spareTime,
    clock,
    log,
  } = options;
  // A long run may be under way: what will not be run any more gives its place and its memory to what comes.
  const queue = new FairQueue<Job>({ mostBytes: mostWaitingBytes, expired: stale, onExpired: drop });
  const memory = new SpareMemory({ mostBytes: mostSpareBytes });
  const retryAt = new WeakMap<Engine, number>();
  const started = new WeakMap<Runner, Promise<void>>();
  /** Of all models together. */
  const pacers: Readonly<Record<PaceName, Pacer>> = {
    usual: new Pacer(paces.usual, { load: live, seconds: clock.seconds }),
    inTurns: new Pacer(paces.inTurns, { load: live, seconds: clock.seconds }),
  };
  /** By model, since they were told of. */
  const paced = new Map<string, number>();
  const telling = setInterval(tellPaced, 1000);
  telling.unref();
  /** Models whose pace was warned of. */
  const told = new WeakSet<Model>();
  let workers = 0;
  let gathering: NodeJS.Timeout | undefined;
  /** What waits has waited for more long enough. */
  let gathered = false;
  /** Of those sent last, from there to their answer, each. */
  let inputSeconds = Infinity;
  const state = { closed: false };

  function tellPaced(): void {
    for (const [model, count] of paced) onDropped(model, "paced", count);
    paced.clear();
  }

  /** The engine's shadow instance, unless it lately failed to load. */
  async function runnerOf(model: Model, engine: Engine): Promise<Runner | undefined> {
    const failedLately = () => clock.seconds() < (retryAt.get(engine) ?? -Infinity);
    if (failedLately()) return undefined;
    try {
      const runner = await engine.shadow();
      let ready = started.get(runner);
      if (!ready) started.set(runner, (ready = onStarted(model, engine)));
      await ready;
      return engine.quarantined && engine !== model.reference ? undefined : runner;
    } catch (error) {
      // Another input has waited for it too.
      if (failedLately()) return undefined;
      retryAt.set(engine, clock.seconds() + retrySeconds);
      log.warn(
        { model: engine.manifest.model, engine: engine.id, err: error },
        "shadow instance cannot be loaded",
      );
      return undefined;
    }
  }

  /** The engines that can run now. Undefined when the model is gone. */
  async function crewOf(model: Model): Promise<Member[] | undefined> {
    const { active, shadowed } = model;
    const crew: Member[] = [];
    for (const engine of shadowed) {
      // In the same turn as the start of its shadow instance: nobody would end one that is started later.
      if (state.closed || model.state !== "ready") return undefined;
      const runner = await runnerOf(model, engine);
      // A switch in the middle leaves the control what it was when the runs began.
      if (runner) crew.push({ engine, role: engine === active ? "control" : "shadow", runner });
    }
    return crew;
  }

  function isPiledUp({ name, config }: Model): boolean {
    return !queue.hasPlace(name, config.shadow.maxQueue / 2);
  }

  /** Elsewhere a run that begins beside a live one takes its device, or its core, from it. */
  function haveOwnCores(model: Model, members: readonly Member[]): boolean {
    if (!cores || !fitShadow(model.config.threads, cores)) return false;
    return members.every(({ engine }) => engine.info?.device.kind === "cpu");
  }

  /** By the devices of all engines that are loaded: a candidate on the GPU is switched to under whoever is served there. */
  function paceOf(model: Model): PaceName {
    for (const { info } of model.engines.values()) {
      if (!info || !isInTurns(info)) continue;
      if (!told.has(model)) {
        told.add(model);
        const { name: gpu, mps } = info.device;
        const why =
          mps === undefined
            ? "a host does not tell whether processes use the GPU at once (NVIDIA's MPS); if they have it in turns, live runs wait for it after each shadow run"
            : "processes have the GPU in turns, so live runs wait for it after each shadow run; to have it used at once, start NVIDIA's MPS before the gateway (nvidia-cuda-mps-control -d)";
        const { perSecond } = paces.inTurns;
        log.warn({ model: model.name, gpu, perSecond }, `few inputs are shadowed: ${why}`);
      }
      return "inTurns";
    }
    return "usual";
  }

  /** What every engine that can run is to run, in random order. A reason when there is nothing to run or nobody to run it for. */
  function plan(
    served: ShadowedRequest,
    { members, options }: Crew,
  ): { readonly planned: Planned; readonly job: ShadowJob<Runner> } | DropReason {
    const { model, engine, inputs, outputs } = served;
    if (!members) return "stale";
    if (members.length === 0) return "engines_away";
    const crew = shuffled(members, random);
    const { reference, config } = model;
    const placeOf = (wanted: Engine | undefined) => {
      const place = crew.findIndex((member) => member.engine === wanted);
      return place === -1 ? undefined : place;
    };
    const job: ShadowJob<Runner> = {
      hosts: crew.map(({ runner }) => runner),
      inputs,
      reply: outputs,
      base: placeOf(reference ?? model.active),
      replied: placeOf(engine),
      options,
      maxUtilization: config.shadow.maxUtilization,
      idleSeconds: isPiledUp(model) && haveOwnCores(model, members) ? piledUpIdleSeconds : Infinity,
      patienceSeconds,
    };
    return { planned: { served, crew, reference }, job };
  }

  /** Tells what came of an input. Returns why it was not shadowed by all, if it was not. */
  function tell({ served, crew, reference }: Planned, answer: ShadowAnswer): DropReason | undefined {
    // What comes of a model that is gone would bring back what was forgotten about it.
    if (served.model.state !== "ready") return "stale";
    const memberAt = (place: number) => crew[place] as Member;
    // Written out, not spread: it is made for every run.
    const runs = answer.runs.map((ran): ShadowRun => ({
      engine: memberAt(ran.place).engine,
      role: memberAt(ran.place).role,
      startedSeconds: ran.startedSeconds,
      endedSeconds: ran.endedSeconds,
      engineSeconds: ran.engineSeconds,
      overlapped: ran.overlapped,
      predicted: ran.predicted,
      error: ran.error && decodeError(ran.error),
    }));
    // One run alone says something too: it failed, or it differs from the reply of the same engine.
    if (runs.length > 0) onRuns(served, runs);
    for (const { reference: base, candidate, difference } of answer.comparisons)
      onCompared(served, {
        reference: memberAt(base).engine,
        candidate: memberAt(candidate).engine,
        difference,
      });
    if (answer.error) throw decodeError(answer.error);
    if (answer.busy) return "busy";
    if (runs.length < 2) return "engines_away";
    if (reference && !runs.some((done) => done.engine === reference && !done.error)) return "no_reference";
    return undefined;
  }

  /** A model that has gone idle meanwhile, or was replaced, must not be woken by its shadow. */
  function stale({ served, offeredSeconds }: Job): boolean {
    return clock.seconds() - offeredSeconds > patienceSeconds || served.model.state !== "ready";
  }

  function keep(served: ShadowedRequest): Job {
    const { id, model, engine, inputs, outputs, pinned, traceParent } = served;
    const tensors = { inputs: memory.copy(inputs), outputs: memory.copy(outputs) };
    return {
      served: { id, model, engine, ...tensors, pinned, traceParent },
      offeredSeconds: clock.seconds(),
    };
  }

  function giveBack({ served }: Job): void {
    memory.giveBack(served.inputs);
    memory.giveBack(served.outputs);
  }

  function drop(job: Job): void {
    onDropped(job.served.model.name, "stale", 1);
    giveBack(job);
  }

  function together(): number {
    return Math.min(mostTogether, Math.max(1, Math.floor(mostTogetherSeconds / inputSeconds)));
  }

  /** The next inputs to be run together; none when too few wait. */
  function take(): Job[] {
    const jobs: Job[] = [];
    const most = together();
    if (!gathered && queue.length < most) return jobs;
    gathered = false;
    let bytes = 0;
    while (jobs.length < most && bytes < mostTogetherBytes) {
      const job = queue.shift();
      if (!job) break;
      if (stale(job)) {
        drop(job);
        continue;
      }
      bytes += bytesOf(job.served);
      jobs.push(job);
    }
    return jobs;
  }

  function fail({ id, model }: ShadowedRequest, error: unknown): void {
    // Whoever ends the gateway ends the thread and its hosts under it.
    if (state.closed) return;
    onDropped(model.name, "failed", 1);
    log.error({ model: model.name, id, err: error }, "a shadow run failed");
  }

  async function runAll(jobs: readonly Job[]): Promise<void> {
    const planned: Planned[] = [];
    const sent: ShadowJob<Runner>[] = [];
    /** Asked for once a lot, which is sent the faster for it. */
    const crews = new Map<Model, Crew>();
    for (const { served } of jobs) {
      try {
        const { model } = served;
        let crew = crews.get(model);
        if (!crew)
          crews.set(model, (crew = { members: await crewOf(model), options: compareOptions(model) }));
        const plans = plan(served, crew);
        if (typeof plans !== "string") {
          planned.push(plans.planned);
          sent.push(plans.job);
        } else if (!state.closed) onDropped(served.model.name, plans, 1);
      } catch (error) {
        fail(served, error);
      }
    }
    if (planned.length === 0) return;
    let answers: Iterator<ShadowAnswer>;
    const sentSeconds = clock.seconds();
    try {
      answers = (await run(sent))[Symbol.iterator]();
      inputSeconds = (clock.seconds() - sentSeconds) / planned.length;
    } catch (error) {
      for (const { served } of planned) fail(served, error);
      return;
    }
    await spareTime.wait();
    const slices = createSlices(spareTime);
    for (const one of planned) {
      if (slices.due()) await slices.pause();
      if (state.closed) return;
      try {
        const reason = tell(one, answers.next().value as ShadowAnswer);
        if (reason) onDropped(one.served.model.name, reason, 1);
      } catch (error) {
        fail(one.served, error);
      }
    }
  }

  async function work(): Promise<void> {
    for (let jobs = take(); jobs.length > 0 && !state.closed; jobs = take()) {
      await runAll(jobs);
      for (const job of jobs) giveBack(job);
    }
  }

  /** Where enough wait, or have waited long enough, and not as many lots as may be are under way. */
  function begin(): void {
    if (state.closed || queue.length === 0) return;
    if (gathered || queue.length >= together()) {
      if (workers >= mostAtOnce) return;
      workers += 1;
      void work().finally(() => {
        workers -= 1;
        begin();
      });
    }
    // A lot was taken at once; what is left of the queue waits for more.
    if (queue.length > 0)
      gathering ??= setTimeout(() => {
        gathering = undefined;
        gathered = queue.length > 0;
        begin();
      }, mostGatherMs);
  }

  return {
    offer(served) {
      const { model, pinned } = served;
      const { sampleRate, maxQueue } = model.config.shadow;
      if (state.closed || pinned || !model.isShadowed) return;
      if (random() >= sampleRate) return onDropped(model.name, "sampled_out", 1);
      // First, for it turns away nearly all where requests are many.
      if (!pacers[paceOf(model)].take()) return void paced.set(model.name, (paced.get(model.name) ?? 0) + 1);
      if (!queue.hasPlace(model.name, maxQueue)) return onDropped(model.name, "queue_full", 1);
      if (!queue.push(model.name, bytesOf(served), () => keep(served)))
        return onDropped(model.name, "queue_full", 1);
      // Nothing more can come to be waited for.
      if (!queue.hasPlace(model.name, maxQueue)) gathered = true;
      begin();
    },
    prepare(model) {
      void (async () => {
        for (const engine of model.shadowed) {
          if (state.closed || model.state !== "ready") return;
          await runnerOf(model, engine);
        }
      })();
    },
    get length() {
      return queue.length;
    },
    close() {
      state.closed = true;
      clearTimeout(gathering);
      clearInterval(telling);
      queue.clear();
    },
  };
}

/** An input that is to be run, and who takes part. */
interface Planned {
  readonly served: ShadowedRequest;
  readonly crew: readonly Member[];
  readonly reference: Engine | undefined;
}

interface Crew {
  /** Undefined when the model is gone. */
  readonly members: readonly Member[] | undefined;
  readonly options: CompareOptions;
}

interface Member {
  readonly engine: Engine;
  readonly role: ShadowRun["role"];
  readonly runner: Runner;
}

interface Job {
  readonly served: ShadowedRequest;
  readonly offeredSeconds: number;
}

function bytesOf({ inputs, outputs }: ShadowedRequest): number {
  let bytes = 0;
  for (const { data } of inputs) bytes += data.byteLength;
  for (const { data } of outputs) bytes += data.byteLength;
  return bytes;
}

/** Fisher and Yates. Random order per input is what makes the paired test valid without independence. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}
