import { expect, test } from "vitest";
import { parseYaml } from "../../src/core/yaml-file.ts";
import { modelSchema } from "../../src/models/manifest.ts";

const read = (text: string) => parseYaml(text, modelSchema, "model.yaml");

test("a detector of which nothing more is said has the usual outputs and limits", () => {
  expect(read("{ name: face, task: detection }").detection).toEqual({
    scores: "scores",
    boxes: "boxes",
    format: "corners",
    background: 0,
    scoreThreshold: 0.7,
    nmsIou: 0.3,
    matchIou: 0.5,
  });
  expect(read("{ name: face, task: detection, detection: { scores: s, boxes: b } }").detection).toEqual({
    scores: "s",
    boxes: "b",
    format: "corners",
    scoreThreshold: 0.5,
    nmsIou: 0.5,
    matchIou: 0.5,
  });
  expect(read("name: face").detection).toBeUndefined();
});

test("an unknown key is still refused with the nearest one", () => {
  expect(() => read("{ name: face, detecton: {} }")).toThrow('did you mean "detection"?');
});

test.each([
  ["policy: { rules: [{ rule: pairedSlowdown, threshold: -3 }] }", /threshold: -3 is too small; at least 0/],
  [
    "policy: { rules: [{ rule: flipRatio, threshold: 5 }] }",
    /rules\[0\]: .*"threshold":5.* must have a threshold of at most 1/,
  ],
  ["policy: { rules: [{ rule: flipRatio, threshold: .nan }] }", /threshold: NaN is not a number/],
  ["policy: { rules: [{ rule: flipRatio }, { rule: flipRatio }] }", /must name each rule once/],
  ["policy: { rules: [] }", /policy\.rules: \[\] is empty; give entries/],
  ["policy: { canary: { steps: [50, 20] } }", /steps: \[50,20\] must not fall from step to step/],
  ["policy: { canary: { steps: [] } }", /steps: \[\] is empty; give entries/],
  ["record: { dir: '' }", /record\.dir: "" is empty; give characters/],
])("%s is refused", (text, message) => {
  expect(() => read(`name: m\n${text}`)).toThrow(message);
});

test("ratios of latencies may be above 1, shares may not", () => {
  const { rules } = read(
    "{ name: m, policy: { rules: [{ rule: latencyP99Ratio, threshold: 5 }, { rule: flipRatio, threshold: 0 }] } }",
  ).policy;
  expect(rules?.map(({ threshold }) => threshold)).toEqual([5, 0]);
});
