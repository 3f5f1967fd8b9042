import { expect, test } from "vitest";
import { createFeedback } from "../../src/audit/feedback.ts";
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
const model = {
  name: "m",
  config: { task: "classification", labels: ["stop", "yield", "ahead"] },
  engines: new Map([
    ["a", a],
    ["b", b],
  ]),
} as unknown as Model;

/** Scores whose largest is that of `top`. */
function scores(top: number) {
  const values = Float32Array.from([0, 0, 0], (_, at) => (at === top ? 1 : 0));
  return [{ name: "scores", datatype: "FP32" as const, shape: [1, 3], data: new Uint8Array(values.buffer) }];
}

test("a label counts once, for every engine that ran the request", () => {
  const feedback = createFeedback();
  feedback.predicted(model, "r1", a, scores(0));
  feedback.predicted(model, "r1", b, scores(1));
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
    feedback.predicted(model, `r${request}`, a, scores(request % 3));
    feedback.predicted(model, `r${request}`, b, scores(0));
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
  feedback.predicted(model, "again", a, scores(2));
  feedback.predicted(model, "again", b, scores(2));
  feedback.predicted(model, "again", b, scores(1));
  feedback.label(model, "again", 1);
  expect(feedback.accuracy(model)).toEqual([
    { engine: "a", labelled: 1, correct: 0 },
    { engine: "b", labelled: 1, correct: 1 },
  ]);
});
