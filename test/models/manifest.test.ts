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
