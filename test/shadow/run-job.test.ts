import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { HostLostError, type Runner } from "../../src/core/engine.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { LiveLoadCounter } from "../../src/core/live-load.ts";
import { decodeError } from "../../src/core/sent-error.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import { restSeconds, runJob, type ShadowJob } from "../../src/shadow/run-job.ts";

const scores = (...values: number[]): Tensor => ({
  name: "y",
  datatype: "FP32",
  shape: [1, values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
});

/** An engine that says these scores, or does what is told. */
function engine(...does: (number[] | (() => unknown))[]): Runner {
  const infer = async () => {
    const next = does.length > 1 ? does.shift() : does[0];
    const outputs = Array.isArray(next) ? [scores(...next)] : await next?.();
    return { outputs, engineSeconds: 0.5 };
  };
  return { infer } as unknown as Runner;
}

function run(hosts: Runner[], change: Partial<ShadowJob<Runner>> = {}, gate = () => Promise.resolve(true)) {
  const load = new LiveLoadCounter();
  const job: ShadowJob<Runner> = {
    hosts,
    inputs: [],
    reply: [],
    base: 0,
    replied: undefined,
    options: { task: "classification" },
    maxUtilization: 1,
    idleSeconds: Infinity,
    patienceSeconds: 1,
    ...change,
  };
  return { load, answer: runJob(job, { gate: { wait: gate }, load, clock: systemClock }) };
}

test("each has its place, its time and its class", async () => {
  const answer = await run([engine([1, 2]), engine([2, 1])]).answer;
  expect(answer).toMatchObject({
    runs: [
      { place: 0, engineSeconds: 0.5, overlapped: false, predicted: 1, error: undefined },
      { place: 1, engineSeconds: 0.5, overlapped: false, predicted: 0, error: undefined },
    ],
    busy: false,
    comparisons: [{ reference: 0, candidate: 1, difference: { flip: true } }],
    error: undefined,
  });
});

test("one whose hosts are away has no run, one that failed has one with its error", async () => {
  const away = engine(() => Promise.reject(new HostLostError("unavailable", "restarting")));
  const lost = engine(() => Promise.reject(new HostLostError("hung", "no answer")));
  const refused = engine(() => Promise.reject(new GatewayError("invalid", "too small")));
  const { runs } = await run([away, lost, refused]).answer;
  expect(runs.map(({ place, overlapped, predicted }) => [place, overlapped, predicted])).toEqual([
    [1, true, null],
    [2, true, null],
  ]);
  expect(runs.map(({ error }) => error && decodeError(error))).toEqual([
    expect.objectContaining({ name: "HostLostError", reason: "hung" }),
    expect.objectContaining({ name: "GatewayError", code: "invalid" }),
  ]);
});

test("a run in which a live request came, or was not yet answered, is overlapped", async () => {
  const hosts = [
    engine(() => (scene.load.begin(), scene.load.end(), [scores(1)])),
    engine(() => [scores(1)]),
    engine(() => (scene.load.begin(), [scores(1)])),
    engine(() => [scores(1)]),
  ];
  const scene = run(hosts);
  const { runs } = await scene.answer;
  expect(runs.map(({ overlapped }) => overlapped)).toEqual([true, false, true, true]);
});

test("what ran before the machine became busy is compared", async () => {
  let waits = 0;
  const hosts = [engine([1, 2]), engine([1, 2]), engine([1, 2])];
  const answer = await run(hosts, {}, () => Promise.resolve(++waits < 3)).answer;
  expect([answer.runs.length, answer.busy, answer.comparisons.length]).toEqual([2, true, 1]);
});

test("runs that cannot be compared are told with the reason", async () => {
  const unknown = () => [{ ...scores(1), datatype: "FP8" }];
  const answer = await run([engine(unknown), engine(() => [{ ...scores(2), datatype: "FP8" }])], {
    options: { task: "tensor" },
  }).answer;
  expect([answer.runs.length, answer.comparisons, answer.error?.class]).toEqual([2, [], "Error"]);
});

test("who ran for long rests for long, within bounds", () => {
  const ran = (seconds: number) => ({ startedSeconds: 1, endedSeconds: 1 + seconds });
  expect(restSeconds([], 0.75)).toBe(0);
  expect(restSeconds([ran(0.3), ran(0.6)], 0.75)).toBeCloseTo(0.3);
  expect(restSeconds([ran(0.3), ran(0.6)], 0.9)).toBeCloseTo(0.1);
  expect(restSeconds([ran(100)], 0.75)).toBe(5);
});
