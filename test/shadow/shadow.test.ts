import { describe, expect, test } from "vitest";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import { type CoreSplit, splitCores } from "../../src/core/cores.ts";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError } from "../../src/core/engine.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Engine } from "../../src/models/engine.ts";
import { modelSchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import type { CompareOptions } from "../../src/compare/options.ts";
import { createRandom } from "../../src/compare/statistics/random.ts";
import { FairQueue } from "../../src/shadow/fair-queue.ts";
import { createTurns } from "../../src/core/turns.ts";
import { runJob, type ShadowAnswer } from "../../src/shadow/run-job.ts";
import { createShadow, type ShadowComparison, type ShadowRun } from "../../src/shadow/shadow.ts";

const runs = { outputs: [], engineSeconds: 0, queueSeconds: 0 };

type Counted = Engine & { started: number; infers: () => Promise<unknown> };

function engineOf(id: string, infers: () => Promise<unknown> = () => Promise.resolve(runs)): Counted {
  const runner = { infer: () => engine.infers() };
  const engine = {
    id,
    started: 0,
    infers,
    quarantined: false,
    manifest: { model: "m" },
    shadow: () => {
      engine.started++;
      return Promise.resolve(runner);
    },
    shadowLoaded: true,
  };
  return engine as unknown as Counted;
}

type Stub = Model & { config: { shadow: { sampleRate: number } } };

function modelOf(
  active: Engine,
  candidates: Engine[],
  { state = "ready", reference = "none" }: { state?: Model["state"]; reference?: string } = {},
): Stub {
  const model = new Model({
    name: "m",
    directory: "",
    config: modelSchema.parse({ name: "m", reference, shadow: { maxQueue: 4, maxUtilization: 1 } }),
    engines: new Map([active, ...candidates].map((engine) => [engine.id, engine])),
    broken: new Map(),
  });
  model.state = state;
  model.activate(active);
  return model;
}

interface Scene {
  /** Whether each wait of the gate ends in time; default all do. */
  readonly gate?: () => Promise<boolean>;
  readonly random?: () => number;
  readonly onRuns?: (runs: readonly ShadowRun[]) => void;
  readonly onCompared?: (comparison: ShadowComparison) => void;
  readonly compareOptions?: () => CompareOptions;
  /** What comes back from the thread instead of the answer. */
  readonly answered?: (answer: ShadowAnswer) => ShadowAnswer;
  readonly cores?: CoreSplit | undefined;
}

/** The shadow with the thread's work done in this one. */
function open(scene: Scene = {}) {
  const { gate = () => Promise.resolve(true), random = () => 0, onRuns, onCompared, answered, cores } = scene;
  const results: string[][] = [];
  const warnings: string[] = [];
  const dropped: string[] = [];
  const prepared: string[] = [];
  /** How many inputs went there at a time. */
  const together: number[] = [];
  /** How long each was to wait for an idle moment. */
  const idleSeconds: number[] = [];
  const time = { seconds: 0 };
  const live = { begun: 0 };
  const clock = { ...systemClock, seconds: () => time.seconds };
  const turns = createTurns();
  const shadow = createShadow({
    run: (jobs) =>
      // One at a time.
      turns.take("thread", async () => {
        together.push(jobs.length);
        const answers: ShadowAnswer[] = [];
        for (const job of jobs) {
          idleSeconds.push(job.idleSeconds);
          const answer = await runJob(job, { gate: { wait: gate }, load: new LiveLoadCounter(), clock });
          answers.push(answered ? answered(answer) : answer);
        }
        return answers;
      }),
    compareOptions: scene.compareOptions ?? (() => ({ task: "tensor" })),
    onRuns: (_served, runs) => {
      results.push(runs.map(({ engine }) => engine.id));
      onRuns?.(runs);
    },
    onCompared: (_served, comparison) => onCompared?.(comparison),
    onStarted: (_model, { id }) => Promise.resolve(void prepared.push(id)),
    onDropped: (_model, reason, count) => void dropped.push(...Array.from({ length: count }, () => reason)),
    random,
    live,
    cores,
    spareTime: { wait: () => Promise.resolve(true) },
    clock,
    log: { ...silentLog, warn: (_, message) => void warnings.push(message) },
  });
  type Offered = Parameters<typeof shadow.offer>[0];
  /** One of as many requests as earn its place. */
  const offer = (model: Model, change: Partial<Offered> = {}, requests = 10) => {
    live.begun += requests;
    shadow.offer({
      id: "r",
      model,
      engine: model.active,
      inputs: [],
      outputs: [],
      pinned: false,
      ...change,
    } as unknown as Offered);
  };
  return { shadow, offer, results, dropped, prepared, together, idleSeconds, warnings, time };
}

/** A gate that lets through when it is told to. */
function heldGate() {
  const waiting: ((through: boolean) => void)[] = [];
  return {
    waiting,
    gate: () => new Promise<boolean>((resolve) => waiting.push(resolve)),
    release: () => {
      for (const resolve of waiting.splice(0)) resolve(true);
    },
  };
}

const abc = () => modelOf(engineOf("a"), [engineOf("b"), engineOf("c")]);

describe("shadow", () => {
  test("an engine whose hosts are away does not take the others' turn", async () => {
    const lost = engineOf("lost", () => Promise.reject(new HostLostError("unavailable", "restarting")));
    const { shadow, offer, results, dropped } = open();
    offer(modelOf(engineOf("active"), [lost, engineOf("other")]));
    await expect.poll(() => results.length).toBe(1);
    expect(results[0]?.toSorted((a, b) => a.localeCompare(b))).toEqual(["active", "other"]);
    expect(dropped).toEqual([]);
    shadow.close();
  });

  test("a model that went idle is not woken by what waited in its shadow", async () => {
    const active = engineOf("active");
    const { shadow, offer, dropped } = open();
    offer(modelOf(active, [engineOf("other")], { state: "idle" }));
    await expect.poll(() => dropped).toEqual(["stale"]);
    expect(active.started).toBe(0);
    shadow.close();
  });

  test.each(["unloaded", "idle"])(
    "a model that is %s before all have started has no other started",
    async (to) => {
      const model = modelOf(engineOf("a"), [engineOf("b"), engineOf("c")]);
      const engines = [model.active as Counted, ...(model.candidates as Counted[])];
      for (const engine of engines) {
        const start = engine.shadow.bind(engine);
        engine.shadow = () => {
          Object.assign(model, { state: to });
          return start();
        };
      }
      const { shadow, offer, results, dropped } = open();
      offer(model);
      await expect.poll(() => dropped).toEqual(["stale"]);
      expect(engines.reduce((sum, { started }) => sum + started, 0)).toBe(1);
      expect(results).toEqual([]);
      shadow.close();
    },
  );

  test.each(["unloaded", "idle"])(
    "of a model that is %s in mid-run nothing is taken any more",
    async (to) => {
      const model = abc();
      (model.active as Counted).infers = () => {
        Object.assign(model, { state: to });
        return Promise.resolve(runs);
      };
      const { shadow, offer, results, dropped } = open();
      offer(model);
      await expect.poll(() => dropped).toEqual(["stale"]);
      expect(results).toEqual([]);
      shadow.close();
    },
  );

  test("closing waits for nothing, and what comes after it is neither taken nor counted", async () => {
    const { gate, waiting, release } = heldGate();
    const { shadow, offer, results, dropped } = open({ gate });
    offer(abc());
    offer(abc());
    await expect.poll(() => waiting.length).toBe(1);
    shadow.close();
    for (let i = 0; i < 5; i += 1) {
      release();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect([results, dropped, shadow.length]).toEqual([[], [], 0]);
  });

  test("its runs and comparisons are of the engines, whatever their order", async () => {
    const byte = (value: number) => [
      { name: "y", datatype: "UINT8", shape: [1], data: Uint8Array.of(value) },
    ];
    const saying = (id: string, value: number) =>
      engineOf(id, () => Promise.resolve({ ...runs, outputs: byte(value) }));
    const model = modelOf(saying("a", 1), [saying("b", 1), saying("c", 2)], { reference: "b" });
    const ran: ShadowRun[] = [];
    const compared: ShadowComparison[] = [];
    const { shadow, offer } = open({
      onRuns: (found) => void ran.push(...found),
      onCompared: (comparison) => void compared.push(comparison),
    });
    offer(model, { outputs: byte(3) } as never);
    await expect.poll(() => compared.length).toBe(3);
    const sorted = (lines: string[]) => lines.toSorted((x, y) => x.localeCompare(y));
    expect(sorted(ran.map(({ engine, role }) => `${engine.id} ${role}`))).toEqual([
      "a control",
      "b shadow",
      "c shadow",
    ]);
    const said = compared.map(
      ({ reference, candidate, difference }) => `${reference.id} ${candidate.id} ${difference.result}`,
    );
    expect(sorted(said)).toEqual(["a a diverged", "b a bit_equal", "b c diverged"]);
    shadow.close();
  });

  test("without a candidate that may run there is no control run either", async () => {
    const model = modelOf(engineOf("a"), [engineOf("b"), engineOf("c")]);
    const { shadow, offer, results, dropped } = open();
    offer(model);
    await expect.poll(() => results.length).toBe(1);
    for (const engine of model.candidates) Object.assign(engine, { quarantined: true });
    const { started } = model.active as Counted;
    offer(model);
    shadow.prepare(model);
    expect(shadow.length).toBe(0);
    shadow.close();
    expect((model.active as Counted).started).toBe(started);
    expect(dropped).toEqual([]);
  });

  test("one in nine is taken, and what is not is counted", async () => {
    const { shadow, offer, results, dropped } = open();
    const model = modelOf(engineOf("a"), [engineOf("b")]);
    // Four have been saved up.
    for (let n = 0; n < 24; n += 1) {
      offer(model, {}, 1);
      await expect.poll(() => shadow.length).toBe(0);
    }
    await expect.poll(() => results.length).toBe(6);
    await expect.poll(() => dropped, { timeout: 3000 }).toEqual(Array.from({ length: 18 }, () => "paced"));
    shadow.close();
  });

  test.each([
    ["that processes have in turns", { kind: "cuda", name: "GPU", mps: false }, "nvidia-cuda-mps-control -d"],
    ["whose host does not tell", { kind: "cuda", name: "GPU" }, "does not tell"],
  ])("while an engine is on a GPU %s few are taken, which is warned of once", async (_, device, words) => {
    const { shadow, offer, results, dropped, warnings, time } = open();
    const model = modelOf(engineOf("a"), [Object.assign(engineOf("b"), { info: { device } })]);
    for (let n = 0; n < 10; n += 1) {
      offer(model);
      await expect.poll(() => shadow.length).toBe(0);
    }
    await expect.poll(() => results.length).toBe(4);
    time.seconds += 0.05;
    offer(model);
    await expect.poll(() => results.length).toBe(5);
    await expect.poll(() => dropped, { timeout: 3000 }).toEqual(Array.from({ length: 6 }, () => "paced"));
    expect(warnings).toEqual([expect.stringContaining(words)]);
    shadow.close();
  });

  test("a GPU that processes use at once is like the processor", async () => {
    const { shadow, offer, results, dropped, warnings } = open();
    const on = (device: object) => Object.assign(engineOf("a"), { info: { device } });
    const engines = [on({ kind: "cuda", name: "GPU", mps: true }), on({ kind: "cpu", name: "CPU" })];
    for (let n = 0; n < 10; n += 1) {
      offer(modelOf(engines[n % 2] as Engine, [engineOf("b")]));
      await expect.poll(() => results.length).toBe(n + 1);
    }
    expect([dropped, warnings]).toEqual([[], []]);
    shadow.close();
  });

  test.each([
    ["with cores of its own it begins beside live runs", splitCores([0, 1]), 1, { kind: "cpu" }, true],
    ["not while nothing is shared out", undefined, 1, { kind: "cpu" }, false],
    ["not with more threads than it has cores", splitCores([0, 1]), 2, { kind: "cpu" }, false],
    ["not with an engine on a GPU", splitCores([0, 1]), 1, { kind: "cuda", name: "GPU", mps: true }, false],
  ] as const)("where inputs pile up, %s", async (_, cores, threads, device, begins) => {
    const { shadow, offer, results, idleSeconds } = open({ cores });
    const on = (id: string, device: object) => Object.assign(engineOf(id), { info: { device } });
    const model = modelOf(on("a", { kind: "cpu" }), [on("b", device)]);
    Object.assign(model.config, { threads });
    for (let n = 0; n < 6; n += 1) offer(model);
    await expect.poll(() => results.length).toBe(6);
    // Two are under way when the other four come, half of what may wait is two, and the last waits alone.
    expect(idleSeconds[0]).toBe(begins ? 0.0015 : Infinity);
    expect(idleSeconds[5]).toBe(Infinity);
    shadow.close();
  });

  test("a shadow instance that is first loaded for a run is checked before it, and only once", async () => {
    const model = modelOf(engineOf("a"), [engineOf("b")]);
    const { shadow, offer, results, prepared } = open();
    offer(model);
    offer(model);
    await expect.poll(() => results.length).toBe(2);
    expect(prepared.toSorted((x, y) => x.localeCompare(y))).toEqual(["a", "b"]);
    shadow.close();
  });

  test("one that does not load is warned about once, however many inputs wait for it", async () => {
    const broken = Object.assign(engineOf("b"), { shadow: () => Promise.reject(new Error("no memory")) });
    const model = modelOf(engineOf("a"), [broken, engineOf("c")]);
    const { shadow, offer, results, warnings } = open();
    for (let n = 0; n < 4; n += 1) offer(model);
    await expect.poll(() => results.length).toBe(4);
    expect(warnings).toEqual(["shadow instance cannot be loaded"]);
    shadow.close();
  });

  test("preparing ends when the model is unloaded under it, and leaves quarantined engines alone", async () => {
    const model = modelOf(engineOf("active"), [engineOf("bad"), engineOf("b"), engineOf("c")]);
    Object.assign(model.candidates[0] as object, { quarantined: true });
    const second = model.candidates[1] as unknown as { shadow: () => Promise<unknown> };
    const start = second.shadow;
    second.shadow = () => {
      Object.assign(model, { state: "unloaded" });
      return start();
    };
    const { shadow, prepared } = open();
    shadow.prepare(model);
    await expect.poll(() => prepared).toEqual(["active", "b"]);
    shadow.close();
    expect(prepared).toEqual(["active", "b"]);
  });

  test("a shadow instance is told of once, however often its model changes", async () => {
    const { shadow, prepared } = open();
    const again = engineOf("again");
    const model = modelOf(engineOf("active"), [again]);
    shadow.prepare(model);
    shadow.prepare(model);
    await expect.poll(() => prepared).toEqual(["active", "again"]);
    shadow.prepare(model);
    // Unloaded and started anew.
    const anew = engineOf("again");
    Object.assign(again, { shadow: () => anew.shadow() });
    shadow.prepare(model);
    await expect.poll(() => prepared.length).toBe(3);
    shadow.close();
    expect(prepared).toEqual(["active", "again", "again"]);
  });
});

describe("what is counted", () => {
  test.each([
    ["nothing could run", ["lost", "lost", "lost"], [], ["engines_away"]],
    ["the control is away", ["lost", "lost", "ran"], [["c"]], ["engines_away"]],
    ["the control is away, and another fails", ["lost", "lost", "failed"], [["c"]], ["engines_away"]],
    ["the reference is away", ["ran", "lost", "ran"], [["a", "c"]], ["no_reference"]],
    ["the reference fails", ["ran", "failed", "ran"], [["a", "b", "c"]], ["no_reference"]],
    ["another is away", ["ran", "ran", "lost"], [["a", "b"]], []],
    ["another fails", ["ran", "ran", "failed"], [["a", "b", "c"]], []],
  ] as const)("%s", async (_, outcomes, expected, counted) => {
    const infer = {
      ran: () => Promise.resolve(runs),
      lost: () => Promise.reject(new HostLostError("unavailable", "restarting")),
      failed: () => Promise.reject(new Error("refused")),
    };
    const [first, second, third] = outcomes;
    const others = [engineOf("b", infer[second]), engineOf("c", infer[third])];
    const model = modelOf(engineOf("a", infer[first]), others, { reference: "b" });
    const { shadow, offer, results, dropped } = open();
    offer(model);
    await expect.poll(() => [results.length, dropped.length]).toEqual([expected.length, counted.length]);
    // What else there was of the first would have come by then.
    offer(modelOf(engineOf("z"), [engineOf("y")]));
    await expect.poll(() => results.at(-1)?.includes("z")).toBe(true);
    expect(results.slice(0, -1).map((ids) => ids.toSorted((x, y) => x.localeCompare(y)))).toEqual(expected);
    expect(dropped).toEqual(counted);
    shadow.close();
  });

  test("an input whose comparison is lost, the runs of which are kept, and the next one is run", async () => {
    let failing = true;
    const { shadow, offer, results, dropped } = open({
      answered: (answer) => (failing ? { ...answer, error: { class: "Error", message: "no" } } : answer),
    });
    offer(abc());
    await expect.poll(() => dropped).toEqual(["failed"]);
    expect(results).toHaveLength(1);
    failing = false;
    offer(abc());
    await expect.poll(() => results.length).toBe(2);
    expect(dropped).toEqual(["failed"]);
    shadow.close();
  });

  test("an input that could not be planned, and the next one is run", async () => {
    let failing = true;
    const { shadow, offer, results, dropped } = open({
      compareOptions: () => {
        if (failing) throw new Error("no");
        return { task: "tensor" };
      },
    });
    offer(abc());
    await expect.poll(() => dropped).toEqual(["failed"]);
    failing = false;
    offer(abc());
    await expect.poll(() => results.length).toBe(1);
    shadow.close();
  });

  test("an input that the thread was lost with, and the next one is run", async () => {
    let failing = true;
    const { shadow, offer, results, dropped } = open({
      answered: (answer) => {
        if (failing) throw new Error("the shadow thread was lost");
        return answer;
      },
    });
    offer(abc());
    await expect.poll(() => dropped).toEqual(["failed"]);
    failing = false;
    offer(abc());
    await expect.poll(() => results.length).toBe(1);
    expect(dropped).toEqual(["failed"]);
    shadow.close();
  });

  test("an input that no idle moment came for; what ran before is handed on", async () => {
    let waits = 0;
    const { shadow, offer, results, dropped } = open({ gate: () => Promise.resolve(++waits < 3) });
    offer(abc());
    await expect.poll(() => results.length).toBe(1);
    expect(results[0]).toHaveLength(2);
    expect(dropped).toEqual(["busy"]);
    shadow.close();
  });

  test("an input that was not chosen; a pinned one, or one without sampling, was never offered", async () => {
    const { shadow, offer, dropped } = open({ random: () => 0.5 });
    const half = modelOf(engineOf("a"), [engineOf("b")]);
    half.config.shadow.sampleRate = 0.5;
    offer(half);
    expect(dropped).toEqual(["sampled_out"]);
    offer(half, { pinned: true });
    half.config.shadow.sampleRate = 0;
    offer(half);
    expect(dropped).toEqual(["sampled_out"]);
    expect(shadow.length).toBe(0);
    shadow.close();
  });
});

test("every order of the engines comes up as often as any other", async () => {
  const random = createRandom(5);
  const { shadow, offer, results } = open({ random: () => random.next() });
  const orders = new Map<string, number>();
  for (let i = 0; i < 600; i += 1) {
    offer(abc());
    await expect.poll(() => results.length, { interval: 1 }).toBe(i + 1);
    const order = results[i]?.join("") ?? "";
    orders.set(order, (orders.get(order) ?? 0) + 1);
  }
  expect(orders.size).toBe(6);
  // 100 expected, a standard deviation of 9.
  for (const [order, count] of orders) expect(Math.abs(count - 100), order).toBeLessThan(40);
  shadow.close();
});

test("a candidate that is removed while its turn is waited for takes the model's place with it", async () => {
  const { gate, waiting, release } = heldGate();
  const { shadow, offer, results, dropped } = open({ gate });
  const before = abc();
  offer(before);
  offer(before);
  await expect.poll(() => waiting.length).toBe(1);
  // A reload without c: the model is another one.
  Object.assign(before, { state: "unloaded" });
  offer(modelOf(engineOf("a"), [engineOf("b")]));
  await expect.poll(() => (release(), results.length)).toBe(1);
  expect(results[0]?.toSorted((x, y) => x.localeCompare(y))).toEqual(["a", "b"]);
  expect(dropped).toEqual(["stale", "stale"]);
  shadow.close();
});

describe("what waits", () => {
  test("is bounded by number: what does not fit is counted", async () => {
    const { gate, waiting, release } = heldGate();
    const { shadow, offer, results, dropped } = open({ gate });
    const model = abc();
    // One is run, the next is at the thread already.
    offer(model);
    offer(model);
    await expect.poll(() => waiting.length).toBe(1);
    for (let i = 0; i < 6; i += 1) offer(model);
    expect(shadow.length).toBe(4);
    expect(dropped).toEqual(["queue_full", "queue_full"]);
    await expect.poll(() => (release(), results.length)).toBe(6);
    shadow.close();
  });

  test.each([
    ["twelve where as many wait", { seconds: 0.01, bytes: 1 }, 12],
    ["two where it takes longer", { seconds: 0.08, bytes: 1 }, 2],
    ["one where it takes long", { seconds: 0.3, bytes: 1 }, 1],
    ["two where they are large", { seconds: 0.01, bytes: 600_000 }, 2],
  ])("is run together: %s", async (_, { seconds, bytes }, most) => {
    const { gate, waiting, release } = heldGate();
    const { shadow, offer, results, dropped, together, time } = open({
      gate,
      answered: (answer) => {
        time.seconds += seconds;
        return answer;
      },
    });
    const model = abc();
    model.config.shadow.maxQueue = 16;
    const inputs = [{ name: "x", datatype: "UINT8", shape: [bytes], data: new Uint8Array(bytes) }];
    // One is run, the next is at the thread already.
    for (let i = 0; i < 2; i += 1) offer(model, { inputs } as never);
    await expect.poll(() => waiting.length).toBe(1);
    for (let i = 0; i < 16; i += 1) offer(model, { inputs } as never);
    await expect.poll(() => (release(), results.length)).toBe(18);
    expect(together.slice(0, 2)).toEqual([1, 1]);
    expect(Math.max(...together)).toBe(most);
    expect(dropped).toEqual([]);
    shadow.close();
  });

  test("waits a moment for more, once inputs are known to take little", async () => {
    const { shadow, offer, results, together } = open();
    const model = abc();
    offer(model);
    expect(shadow.length).toBe(0);
    await expect.poll(() => results.length).toBe(1);
    for (let i = 0; i < 3; i += 1) offer(model);
    expect(shadow.length).toBe(3);
    await expect.poll(() => results.length).toBe(4);
    expect(together).toEqual([1, 3]);
    shadow.close();
  });

  test("waits for no more where no more may wait", async () => {
    const { shadow, offer, results, together } = open();
    const model = abc();
    offer(model);
    await expect.poll(() => results.length).toBe(1);
    // The fourth fills the queue, so they go at once.
    for (let i = 0; i < 4; i += 1) offer(model);
    expect(shadow.length).toBe(0);
    offer(model);
    await expect.poll(() => results.length).toBe(6);
    expect(together).toEqual([1, 4, 1]);
    shadow.close();
  });

  test("is bounded by its memory too", async () => {
    const { gate, waiting } = heldGate();
    const { shadow, offer, dropped } = open({ gate });
    const model = abc();
    // One is run, the next is at the thread already.
    offer(model);
    offer(model);
    await expect.poll(() => waiting.length).toBe(1);
    // 100 MB each, without touching the memory.
    const inputs = [{ name: "x", datatype: "UINT8", shape: [1], data: { byteLength: 100_000_000 } }] as never;
    for (let i = 0; i < 3; i += 1) offer(model, { inputs });
    expect(shadow.length).toBe(2);
    expect(dropped).toEqual(["queue_full"]);
    shadow.close();
  });

  test("gives its place to what comes, once it is too old to be run", async () => {
    const { gate, waiting } = heldGate();
    const { shadow, offer, dropped, time } = open({ gate });
    const model = abc();
    // One is run, the next is at the thread already.
    offer(model);
    offer(model);
    await expect.poll(() => waiting.length).toBe(1);
    for (let i = 0; i < 4; i += 1) offer(model);
    time.seconds += 6;
    offer(model);
    expect(dropped).toEqual(["stale", "stale", "stale", "stale"]);
    expect(shadow.length).toBe(1);
    shadow.close();
  });
});

describe("a fair queue", () => {
  /** Whose items expire by number. */
  function open<T>(mostBytes: number, expired: (item: T) => boolean = () => false) {
    const shed: T[] = [];
    const queue = new FairQueue<T>({ mostBytes, expired, onExpired: (item) => void shed.push(item) });
    const push = (key: string, item: T, { most, bytes }: { most: number; bytes: number }) =>
      queue.hasPlace(key, most) && queue.push(key, bytes, () => item);
    return { queue, shed, push };
  }

  test("keys in turn, a full one refused, the others not touched", () => {
    const { queue, push } = open<string>(100);
    const offer = (key: string, item: string) => push(key, item, { most: 2, bytes: 1 });
    expect(["a1", "a2", "a3"].map((item) => offer("a", item))).toEqual([true, true, false]);
    expect(offer("b", "b1")).toBe(true);
    expect(queue.length).toBe(3);
    expect([queue.shift(), queue.shift(), queue.shift(), queue.shift()]).toEqual([
      "a1",
      "b1",
      "a2",
      undefined,
    ]);
  });

  test("what leaves it, by any way, frees its bytes", () => {
    let oldest = 0;
    const { queue, shed, push } = open<number>(10, (item) => item < oldest);
    const fill = () => [1, 2, 3].map((item) => push("a", item, { most: 9, bytes: 5 }));
    expect(fill()).toEqual([true, true, false]);
    expect([queue.shift(), queue.shift()]).toEqual([1, 2]);
    expect(fill()).toEqual([true, true, false]);
    // Of another key, as memory is everyone's.
    oldest = 3;
    expect(push("b", 4, { most: 9, bytes: 5 })).toBe(true);
    expect(shed).toEqual([1, 2]);
    expect(queue.length).toBe(1);
    queue.clear();
    oldest = 0;
    expect(fill()).toEqual([true, true, false]);
  });

  test("what has expired gives its place to what comes", () => {
    let oldest = 0;
    const { queue, shed, push } = open<number>(100, (item) => item < oldest);
    const offer = (item: number) => push("a", item, { most: 2, bytes: 1 });
    expect([1, 2, 3].map(offer)).toEqual([true, true, false]);
    oldest = 2;
    expect(offer(3)).toBe(true);
    expect([shed, queue.shift(), queue.shift(), queue.shift()]).toEqual([[1], 2, 3, undefined]);
  });
});
