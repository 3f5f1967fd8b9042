import { expect, test } from "vitest";
import { createFeedback as create, type Feedback } from "../../src/audit/feedback.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Engine } from "../../src/models/engine.ts";
import type { Model } from "../../src/models/model.ts";

function engine(id: string): Engine {
  return {
    id,
    info: { outputs: [{ name: "scores" }] },
    manifest: { artifact: { sha256: `digest of ${id}` } },
  } as unknown as Engine;
}

const [a, b] = [engine("a"), engine("b")];
const fields = {
  name: "m",
  info: { outputs: [{ name: "scores", datatype: "FP32", shape: [1, 3] }] },
  config: { task: "classification", labels: ["stop", "yield", "ahead"] },
  engines: new Map([
    ["a", a],
    ["b", b],
  ]),
};
const model = fields as unknown as Model;

const documents = new Map<string, unknown>();

function createFeedback(): Feedback {
  const store = {
    read: (key: string) => Promise.resolve(documents.get(key)),
    write: (key: string, document: unknown) => Promise.resolve(void documents.set(key, document)),
  };
  return create({ store, keyPrefix: "repository/", log: silentLog });
}

/** Scores whose largest is that of `top`. */
function scores(top: number) {
  const values = Float32Array.from([0, 0, 0], (_, at) => (at === top ? 1 : 0));
  return [{ name: "scores", datatype: "FP32" as const, shape: [1, 3], data: new Uint8Array(values.buffer) }];
}

test("a label counts once, for every engine that ran the request", () => {
  const feedback = createFeedback();
  feedback.answered(model, "r1", a, scores(0));
  feedback.predicted(model, "r1", b, 1);
  // Nothing that can be right or wrong.
  feedback.predicted(model, "r1", b, null);
  feedback.label(model, "r1", "stop");
  expect(() => feedback.label(model, "r1", "stop")).toThrow(/request "r1" of model "m" is not remembered/);
  expect(feedback.accuracy(model)).toEqual([
    { engine: "a", labelled: 1, correct: 1 },
    { engine: "b", labelled: 1, correct: 0 },
  ]);
});

test("the latest 10,000 requests are remembered, however many came and whichever were labelled", () => {
  const feedback = createFeedback();
  for (let request = 0; request < 25_000; request += 1) {
    feedback.answered(model, `r${request}`, a, scores(request % 3));
    feedback.predicted(model, `r${request}`, b, 0);
    if (request % 7 === 0) feedback.label(model, `r${request}`, request % 3);
  }
  expect(() => feedback.label(model, "r14999", 0)).toThrow(/not remembered/);
  feedback.label(model, "r15000", 0);
  feedback.label(model, "r24999", 0);
  const labelled = Math.ceil(25_000 / 7) + 2;
  // 15,000 is a multiple of 3 and 24,999 is too, so class 0 is right for both.
  expect(feedback.accuracy(model)[0]).toEqual({ engine: "a", labelled, correct: labelled });
});

test("an engine that runs a request twice has said what it said last", () => {
  const feedback = createFeedback();
  feedback.answered(model, "again", a, scores(2));
  feedback.predicted(model, "again", b, 2);
  feedback.predicted(model, "again", b, 1);
  feedback.label(model, "again", 1);
  expect(feedback.accuracy(model)).toEqual([
    { engine: "a", labelled: 1, correct: 0 },
    { engine: "b", labelled: 1, correct: 1 },
  ]);
});

test("an id that comes again is another request, of which engines have said nothing before they ran it", () => {
  const feedback = createFeedback();
  feedback.answered(model, "1", a, scores(1));
  feedback.predicted(model, "1", b, 1);
  feedback.answered(model, "1", a, scores(2));
  feedback.label(model, "1", 2);
  expect(feedback.accuracy(model)).toEqual([{ engine: "a", labelled: 1, correct: 1 }]);
});

test.each([3, 1e9, -1, 0.5, "left"])("a label that no class has is refused with the range: %s", (label) => {
  const feedback = createFeedback();
  feedback.answered(model, "r1", a, scores(0));
  expect(() => feedback.label(model, "r1", label)).toThrow(
    expect.objectContaining({
      code: "invalid",
      message: expect.stringMatching(/a class number from 0 to 2 or one of stop, yield, ahead/),
    }),
  );
  feedback.label(model, "r1", 2);
});

test("where the shape does not say how many classes there are, the labels do", () => {
  const open = {
    ...fields,
    info: { outputs: [{ name: "scores", datatype: "FP32", shape: [-1, -1] }] },
  } as unknown as Model;
  const feedback = createFeedback();
  expect(() => feedback.label(open, "r1", 3)).toThrow(/from 0 to 2/);
  const nameless = { ...fields, info: open.info, config: { task: "classification" } } as unknown as Model;
  expect(() => feedback.label(nameless, "r1", 3)).toThrow(/not remembered/);
});

test("labels, single scores and scores of quantised models are classes too", () => {
  const output = (datatype: "INT32" | "UINT8" | "FP32", shape: number[]) =>
    ({
      ...fields,
      config: { task: "classification" },
      info: { outputs: [{ name: "scores", datatype, shape }] },
    }) as unknown as Model;
  const said = (
    datatype: "INT32" | "UINT8" | "FP32",
    shape: number[],
    values: Int32Array | Uint8Array | Float32Array,
  ) => [{ name: "scores", datatype, shape, data: new Uint8Array(values.buffer) }];
  const labels = output("INT32", [1]);
  const ofLabels = createFeedback();
  ofLabels.answered(labels, "r1", a, said("INT32", [1], Int32Array.of(7)));
  ofLabels.label(labels, "r1", 7);
  expect(ofLabels.accuracy(labels)).toEqual([{ engine: "a", labelled: 1, correct: 1 }]);

  const single = output("FP32", [1, 1]);
  const ofScores = createFeedback();
  for (const [id, score] of [
    ["r1", 0.9],
    ["r2", 0.1],
  ] as const) {
    ofScores.answered(single, id, a, said("FP32", [1, 1], Float32Array.of(score)));
    ofScores.label(single, id, 1);
  }
  expect(ofScores.accuracy(single)).toEqual([{ engine: "a", labelled: 2, correct: 1 }]);
  expect(() => ofScores.label(single, "r1", 2)).toThrow(/from 0 to 1/);

  const ofQuantised = createFeedback();
  const quantised = output("UINT8", [1, 4]);
  ofQuantised.answered(quantised, "r1", a, said("UINT8", [1, 4], Uint8Array.of(9, 200, 7, 30)));
  expect(() => ofQuantised.label(quantised, "r1", 4)).toThrow(/from 0 to 3/);
  ofQuantised.label(quantised, "r1", 1);
  expect(ofQuantised.accuracy(quantised)).toEqual([{ engine: "a", labelled: 1, correct: 1 }]);
});

test("a model that does not classify says so", () => {
  const detector = { ...fields, config: { task: "detection" } } as unknown as Model;
  expect(() => createFeedback().label(detector, "r1", 0)).toThrow(
    expect.objectContaining({ code: "conflict", message: expect.stringMatching(/its task is detection/) }),
  );
});

test("what was counted outlives the gateway, for the artifacts that are still there", async () => {
  const first = createFeedback();
  first.answered(model, "r1", a, scores(0));
  first.predicted(model, "r1", b, 1);
  first.label(model, "r1", 0);
  await first.close();
  const second = createFeedback();
  await second.restore(model);
  second.answered(model, "r2", a, scores(0));
  second.label(model, "r2", 1);
  expect(second.accuracy(model)).toEqual([
    { engine: "a", labelled: 2, correct: 1 },
    { engine: "b", labelled: 1, correct: 0 },
  ]);
  documents.set("repository/feedback/m", { nonsense: true });
  const third = createFeedback();
  await third.restore(model);
  expect(third.accuracy(model)).toEqual([]);
});
