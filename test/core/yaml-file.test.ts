import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { GatewayError } from "../../src/core/errors.ts";
import { checkValue, parseYaml, parseYamlFile } from "../../src/core/yaml-file.ts";

const schema = z.strictObject({
  name: z.string().regex(/^[a-z]+$/, "must be letters"),
  task: z.enum(["classification", "detection"]).optional(),
  instances: z
    .union([z.int().min(1), z.strictObject({ min: z.int().min(1), max: z.int().min(1) })])
    .default(1),
  shadow: z
    .strictObject({ sampleRate: z.number().min(0).max(1).default(1), maxQueue: z.int().optional() })
    .optional(),
  tolerance: z.record(z.string(), z.number()).optional(),
});

function fault(text: string): string {
  try {
    parseYaml(text, schema, "model.yaml");
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError);
    return (error as Error).message;
  }
  throw new Error("was accepted");
}

describe("parseYaml", () => {
  it("fills in defaults", () => {
    expect(parseYaml("name: face\n", schema, "model.yaml")).toEqual({ name: "face", instances: 1 });
  });

  it("names an unknown key, its line and the nearest known one", () => {
    expect(fault("name: face\nshadow:\n  sampleRat: 0.5\n")).toBe(
      'model.yaml:3: shadow: unknown key "sampleRat"; did you mean "sampleRate"?',
    );
    expect(fault("name: face\nzzzzzzzz: 1\n")).toContain(
      'unknown key "zzzzzzzz"; known: name, task, instances, shadow, tolerance',
    );
  });

  it("names a value that is out of its range or of the wrong kind", () => {
    expect(fault("name: face\nshadow: { sampleRate: 7 }\n")).toBe(
      "model.yaml:2: shadow.sampleRate: 7 is too large; at most 1",
    );
    expect(fault("name: a b\n")).toBe('model.yaml:1: name: "a b" must be letters');
    expect(fault("name: [1]\n")).toBe("model.yaml:1: name: [1] is not a text");
    expect(fault("name: a\nshadow: { maxQueue: 1.5 }\n")).toBe(
      "model.yaml:2: shadow.maxQueue: 1.5 is not a whole number",
    );
    expect(fault("name: a\ntask: detektion\n")).toBe(
      'model.yaml:2: task: "detektion" is not one of classification, detection; did you mean "detection"?',
    );
    expect(fault("name: a\ntolerance: { abs: no number }\n")).toContain(
      'tolerance.abs: "no number" is not a number',
    );
  });

  it("says what is missing, in an empty file too", () => {
    expect(fault("")).toBe("model.yaml: name: is missing; give a text");
    expect(fault("- 1\n")).toContain("is not a mapping of keys");
  });

  it("explains the branch of a union that was meant", () => {
    expect(fault("name: a\ninstances: { min: 0, max: 4 }\n")).toBe(
      "model.yaml:2: instances.min: 0 is too small; at least 1",
    );
    expect(fault("name: a\ninstances: { mn: 1, max: 4 }\n")).toContain(
      'unknown key "mn"; did you mean "min"?',
    );
    expect(fault("name: a\ninstances: many\n")).toBe(
      'model.yaml:2: instances: "many" is not a number or a mapping of keys',
    );
  });

  it("names every fault at once", () => {
    expect(fault("nam: a\nshadow: { maxQueue: x }\n").split("\n")).toHaveLength(3);
  });

  it("refuses what is not YAML, keys given twice and alias bombs", () => {
    expect(fault("name: [a\n")).toMatch(/^model\.yaml: .*line 2/s);
    expect(fault("name: a\nname: b\n")).toContain("unique");
    const bomb = [
      "a0: &a0 [x]",
      ...Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`),
    ];
    expect(fault(bomb.join("\n"))).toContain("alias");
  });
});

describe("parseYamlFile", () => {
  it("reads a file, and tells one that is not there from one that cannot be read", async () => {
    const directory = await mkdtemp(join(tmpdir(), "crosscheck-"));
    await writeFile(join(directory, "a.yaml"), "name: face\ninstances: { min: 1, max: 2 }\n");
    expect(await parseYamlFile(join(directory, "a.yaml"), schema)).toEqual({
      name: "face",
      instances: { min: 1, max: 2 },
    });
    await expect(parseYamlFile(join(directory, "b.yaml"), schema)).rejects.toMatchObject({
      code: "notFound",
    });
    await expect(parseYamlFile(directory, schema)).rejects.toMatchObject({ code: "invalid" });
  });
});

describe("checkValue", () => {
  it("checks a value without a text", () => {
    expect(() => checkValue({ name: 1 }, schema, "settings")).toThrow("settings: name: 1 is not a text");
  });
});
