import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError, type EngineRequest, type EngineResult } from "../../src/core/engine.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { silentLog } from "../../src/core/log.ts";
import { createInference, type InferenceRequest, type Served } from "../../src/inference/inference.ts";
import { type Engine, EngineRetiredError } from "../../src/models/engine.ts";
import type { Model } from "../../src/models/model.ts";

type Infer = (request: EngineRequest) => Promise<EngineResult>;

function modelOf(id: string, infer: Infer, deadlineMs?: number): Model {
  const engine = engineOf(id, infer);
  const config = { timeoutMs: 200, deadlineMs };
  return {
    name: "m",
    active: engine,
    engines: new Map([[id, engine]]),
    engine: () => engine,
    config,
  } as unknown as Model;
}

function engineOf(id: string, infer: Infer): Engine {
  return { id, serving: true, healthy: 1, quarantined: false, canTakeOver: true, infer } as unknown as Engine;
}

const answer: Infer = () =>
  Promise.resolve({ outputs: [], queueSeconds: 0, engineSeconds: 0 } as unknown as EngineResult);

/** Never answers before the request's limit. */
const hang: Infer = ({ cancellation }) =>
  new Promise((_, reject) => {
    cancellation?.onCancel(reject);
  });

/** Answers once it is let. */
function held(): { infer: Infer; release: () => void } {
  let release = () => {};
  const gate = new Promise<void>((done) => (release = done));
  return { infer: (asked) => gate.then(() => answer(asked)), release };
}

function request(fields: Partial<InferenceRequest> = {}): InferenceRequest {
  return {
    id: "r",
    inputs: [],
    outputs: undefined,
    pinnedEngine: undefined,
    timeoutMs: undefined,
    receivedSeconds: systemClock.seconds(),
    ...fields,
  };
}

function open(
  get: () => Model,
  onServed: (served: Served) => void = () => {},
  wake: () => Promise<Engine> = () => Promise.reject(new Error("a replaced engine was woken")),
) {
  const faults: Error[] = [];
  const unanswered: string[] = [];
  const inference = createInference({
    models: { get, wake },
    limits: { concurrency: 1, queue: 8 },
    chooseCanary: () => undefined,
    onServed,
    onFailed: ({ error }) => faults.push(error),
    onUnanswered: ({ engine }) => unanswered.push(engine.id),
    onFailover: () => {},
    clock: systemClock,
    log: silentLog,
  });
  return { inference, faults, unanswered };
}

describe("inference", () => {
  test("a request that waited while its model was reloaded runs on the new engines", async () => {
    const { infer, release } = held();
    const old = modelOf("old", infer);
    const { inference } = open(() => modelOf("new", answer));
    const first = inference.infer(old, request());
    const waiting = inference.infer(old, request());
    Object.assign(old.active as object, { serving: false });
    release();
    expect((await first).engine.id).toBe("old");
    expect((await waiting).engine.id).toBe("new");
  });

  test("one that waited while its model was unloaded is told so, and gives its place back", async () => {
    const { infer, release } = held();
    const model = modelOf("a", infer);
    const gone = new GatewayError("notFound", "unloaded");
    const { inference } = open(() => {
      throw gone;
    });
    const first = inference.infer(model, request());
    const waiting = inference.infer(model, request());
    release();
    await first;
    await expect(waiting).rejects.toBe(gone);
    expect((await inference.infer(model, request())).engine.id).toBe("a");
  });

  test("a full model is not described: its requests are turned away before they are read", async () => {
    const { infer, release } = held();
    const model = Object.assign(modelOf("a", infer), { info: {} });
    const { inference } = open(() => model);
    const asked = Array.from({ length: 8 }, () => inference.infer(model, request()));
    expect(inference.describe("m")).toMatchObject({ model });
    asked.push(inference.infer(model, request()));
    const busy = { code: "busy", message: expect.stringContaining("1 requests running and 8 waiting") };
    expect(() => inference.describe("m")).toThrow(expect.objectContaining(busy));
    await expect(inference.infer(model, request())).rejects.toMatchObject(busy);
    release();
    await Promise.all(asked);
    expect(inference.describe("m")).toMatchObject({ model });
  });

  test("an idle model is woken, also where a pinned request has its active engine running again", async () => {
    const model = Object.assign(modelOf("a", answer), { state: "idle" });
    const wake = () => {
      Object.assign(model, { state: "ready" });
      return Promise.resolve(model.active as Engine);
    };
    const { inference } = open(() => model, undefined, wake);
    await inference.infer(model, request({ pinnedEngine: "a" }));
    await inference.infer(model, request());
    expect(model.state).toBe("ready");
  });

  test("an engine that a reload put in another's place is timed from then on", async () => {
    const old = modelOf("old", async () => {
      await new Promise((resolve) => setTimeout(resolve, 60));
      throw new EngineRetiredError("old");
    });
    const { inference, unanswered } = open(() => modelOf("new", answer, 50));
    const { engine, receivedSeconds, askedSeconds } = await inference.infer(old, request());
    expect(engine.id).toBe("new");
    expect(askedSeconds - receivedSeconds).toBeGreaterThan(0.05);
    expect(unanswered).toEqual([]);
  });

  test("the model's own limit speaks against the engine, a client's impatience does not", async () => {
    const model = modelOf("slow", hang);
    const { inference, faults } = open(() => model);
    const late = { code: "timeout" };
    await expect(inference.infer(model, request({ timeoutMs: 1 }))).rejects.toMatchObject(late);
    expect(faults).toEqual([]);
    await expect(inference.infer(model, request())).rejects.toMatchObject(late);
    expect(faults).toHaveLength(1);
  });

  test("an observer that throws ends neither the reply nor the process", async () => {
    const model = modelOf("a", answer);
    const { inference } = open(
      () => model,
      () => {
        throw new Error("observer");
      },
    );
    expect((await inference.infer(model, request())).engine.id).toBe("a");
    await nextTurn();
    await nextTurn();
  });
});

describe("a request that runs out of time", () => {
  test.each([
    ["by the model's limit", undefined, undefined, 1],
    ["by the client's limit, after the deadline", 50, 20, 1],
    ["by the client's limit, before the deadline", 10, 150, 0],
    ["by the client's limit, without a deadline", 10, undefined, 0],
  ])("%s", async (_, timeoutMs, deadlineMs, misses) => {
    const model = modelOf("a", hang, deadlineMs);
    const { inference, unanswered } = open(() => model);
    await expect(inference.infer(model, request({ timeoutMs }))).rejects.toMatchObject({ code: "timeout" });
    expect(unanswered).toHaveLength(misses);
  });
});

describe("a live failure", () => {
  const lost =
    (reason: "exited" | "hung" | "unavailable"): Infer =>
    () =>
      Promise.reject(new HostLostError(reason, "lost"));
  const fails: Infer = () => Promise.reject(new GatewayError("engineFailed", "cannot"));

  /** An active engine and a standby that may take over. */
  function twoOf(active: Infer, standby: Infer, deadlineMs?: number): Model {
    const noHost: Infer = (asked) => {
      // Its only host goes with the first request.
      Object.assign(model.active as object, { healthy: 0 });
      return active(asked);
    };
    const model = modelOf("active", noHost, deadlineMs);
    Object.assign(model, { standby: engineOf("standby", standby) });
    return model;
  }

  test.each<[string, Model, Partial<InferenceRequest>, faults: number, unanswered: string[], code?: string]>([
    ["an engine's error is no answer in time", modelOf("a", fails), {}, 1, ["a"], "engineFailed"],
    ["nor is a refused input one", modelOf("a", refuses("invalid")), {}, 0, [], "invalid"],
    [
      "a pinned request speaks of no live traffic",
      modelOf("a", fails),
      { pinnedEngine: "a" },
      0,
      [],
      "engineFailed",
    ],
    [
      "an engine that was lost has not answered what another did",
      twoOf(lost("exited"), answer),
      {},
      1,
      ["active"],
    ],
    ["a request that only waited for it was not its own", twoOf(lost("unavailable"), answer), {}, 0, []],
    ["two engines lost", twoOf(lost("exited"), lost("hung")), {}, 2, ["active", "standby"], "unavailable"],
    ["one engine lost twice", modelOf("a", lost("exited")), {}, 2, ["a"], "unavailable"],
    ["one that answers after all", modelOf("a", inTurn(lost("exited"), answer)), {}, 1, []],
    ["one pinned and lost", modelOf("a", inTurn(lost("exited"), answer)), { pinnedEngine: "a" }, 0, []],
    [
      "a request that waited for it beyond the deadline",
      twoOf(after(40, lost("unavailable")), answer, 20),
      {},
      0,
      ["active"],
    ],
    [
      "one lost, and then not available",
      modelOf("a", inTurn(lost("exited"), lost("unavailable"))),
      {},
      1,
      ["a"],
      "unavailable",
    ],
    [
      "one lost, and then silent until the client's own limit",
      modelOf("a", inTurn(lost("exited"), hang), 150),
      { timeoutMs: 10 },
      1,
      ["a"],
      "timeout",
    ],
    [
      "the second engine is not late with what is left of the time",
      twoOf(after(150, lost("hung")), hang, 100),
      {},
      1,
      ["active"],
      "timeout",
    ],
    [
      "it is when that was no less than the deadline",
      twoOf(after(40, lost("hung")), hang, 20),
      {},
      1,
      ["active", "standby"],
      "timeout",
    ],
  ])("%s", async (_, model, fields, failed, missed, code) => {
    const { inference, faults, unanswered } = open(() => model);
    const answered = inference.infer(model, request(fields));
    if (code === undefined) await answered;
    else await expect(answered).rejects.toMatchObject({ code });
    expect(faults).toHaveLength(failed);
    expect(unanswered).toEqual(missed);
  });

  test("of an engine that is lost, and lost again after another was, is one miss", async () => {
    const setHealthy = (engine: Engine | undefined, healthy: number) =>
      Object.assign(engine as object, { healthy });
    const model = twoOf(lost("exited"), (asked) => {
      setHealthy(model.standby, 0);
      setHealthy(model.active, 1);
      return lost("unavailable")(asked);
    });
    const { inference, unanswered } = open(() => model);
    await expect(inference.infer(model, request())).rejects.toMatchObject({ code: "unavailable" });
    expect(unanswered).toEqual(["active"]);
  });

  test("of an engine whose request moves when its second try finds no host is still one", async () => {
    const model = twoOf(
      inTurn((asked) => {
        // Another instance is there for the first moment.
        Object.assign(model.active as object, { healthy: 1 });
        return lost("exited")(asked);
      }, lost("unavailable")),
      answer,
    );
    const { inference, unanswered } = open(() => model);
    await inference.infer(model, request());
    expect(unanswered).toEqual(["active"]);
  });

  test("names its engine", async () => {
    const model = twoOf(lost("exited"), fails);
    const { inference } = open(() => model);
    await expect(inference.infer(model, request())).rejects.toMatchObject({ engine: "standby" });
  });

  test("an engine that takes over is timed from then on", async () => {
    const model = twoOf(after(50, lost("hung")), answer);
    const served: Served[] = [];
    const { inference } = open(
      () => model,
      (one) => served.push(one),
    );
    const receivedSeconds = systemClock.seconds();
    await inference.infer(model, request({ receivedSeconds }));
    await nextTurn();
    expect(served[0]?.receivedSeconds).toBe(receivedSeconds);
    expect(served[0]?.askedSeconds).toBeGreaterThan(receivedSeconds + 0.04);
  });
});

function refuses(code: "invalid"): Infer {
  return () => Promise.reject(new GatewayError(code, "refused"));
}

/** One after another; the last stays. */
function inTurn(...infers: Infer[]): Infer {
  let asked = 0;
  return (request) => (infers[Math.min(asked++, infers.length - 1)] ?? answer)(request);
}

function after(milliseconds: number, infer: Infer): Infer {
  return (request) => new Promise((resolve) => setTimeout(resolve, milliseconds)).then(() => infer(request));
}
