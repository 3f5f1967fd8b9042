import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.ts";
import type { TensorSpec } from "../../src/core/tensor.ts";
import { byteSize, datatypes } from "../../src/core/tensor.ts";
import { bindInputs } from "../../src/protocol/v2-inputs.ts";
import { parseInferRequest } from "../../src/protocol/v2-request.ts";
import { resolveOutputs } from "../../src/protocol/v2-response.ts";
import { nastyBodies } from "./_corpus.ts";

const specs: readonly TensorSpec[] = [
  { name: "a", datatype: "FP32", shape: [-1, 2] },
  { name: "n", datatype: "INT64", shape: [2], bounds: [[2, 2]] },
];
const outputs: readonly TensorSpec[] = [{ name: "y", datatype: "FP32", shape: [-1, 2] }];

/** Decodes as infer does: the outcome is tensors that fit the model, or `invalid`; anything else fails the test. */
function decode(body: Uint8Array, headerLength: number | undefined): "taken" | "refused" {
  try {
    const envelope = parseInferRequest(body, headerLength);
    const tensors = bindInputs(envelope, specs);
    resolveOutputs(envelope, outputs);
    expect(tensors.map(({ name }) => name)).toEqual(specs.map(({ name }) => name));
    for (const { datatype, shape, data } of tensors) expect(data.byteLength).toBe(byteSize(datatype, shape));
    return "taken";
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    expect(error.code).toBe("invalid");
    expect(error.message.length).toBeLessThan(1000);
    return "refused";
  }
}

const jsonRequest = Buffer.from(
  JSON.stringify({
    id: "1",
    parameters: { timeout: 1000, binary_data_output: false },
    inputs: [
      { name: "a", shape: [2, 2], datatype: "FP32", data: [0.5, -1e-3, [3], 4].flat() },
      { name: "n", shape: [2], datatype: "INT64", data: [1, -2] },
    ],
    outputs: [{ name: "y", parameters: { classification: 1 } }],
  }).replace("-2]", "9007199254740993]"),
);
const binaryHeader = Buffer.from(
  JSON.stringify({
    inputs: [
      { name: "a", shape: [2, 2], datatype: "FP32", parameters: { binary_data_size: 16 } },
      { name: "n", shape: [2], datatype: "INT64", parameters: { binary_data_size: 16 } },
    ],
  }),
);
const binaryRequest = Buffer.concat([binaryHeader, Buffer.alloc(32, 7)]);

const pieces = [
  "1e400",
  "-1",
  "null",
  "NaN",
  "[",
  "]",
  "{",
  "}",
  '"',
  ",",
  "\\u0000",
  "99999999999999999999",
  "[[1]]",
];

type Mutation = (body: Buffer) => Buffer;
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]): Mutation => (body) => {
    const copy = Buffer.from(body);
    if (copy.length > 0) copy[at % copy.length] = byte;
    return copy;
  }),
  fc.tuple(fc.nat(), fc.nat()).map(([from, length]): Mutation => (body) => {
    const at = from % (body.length + 1);
    return Buffer.concat([body.subarray(0, at), body.subarray(at + (length % 40))]);
  }),
  fc.tuple(fc.nat(), fc.constantFrom(...pieces)).map(([from, piece]): Mutation => (body) => {
    const at = from % (body.length + 1);
    return Buffer.concat([body.subarray(0, at), Buffer.from(piece), body.subarray(at)]);
  }),
  fc.tuple(fc.nat(), fc.constantFrom(...pieces)).map(([from, piece]): Mutation => (body) => {
    const at = from % (body.length + 1);
    return Buffer.concat([body.subarray(0, at), Buffer.from(piece), body.subarray(at + piece.length)]);
  }),
  // One number for another, in place, so that the JSON still parses.
  fc
    .tuple(fc.nat(), fc.constantFrom("0", "-1", "3", "1.5", "1e9", "2147483648", "null", "[]"))
    .map(([which, number]): Mutation => (body) => {
      const text = body.toString("latin1");
      const found = [...text.matchAll(/-?\d+(\.\d+)?(e-?\d+)?/g)];
      const match = found[which % Math.max(1, found.length)];
      if (!match) return body;
      return Buffer.from(
        text.slice(0, match.index) + number + text.slice(match.index + match[0].length),
        "latin1",
      );
    }),
);

function mutated(body: Buffer): fc.Arbitrary<Buffer> {
  return fc
    .array(mutation, { minLength: 1, maxLength: 4 })
    .map((mutations) => mutations.reduce((current, mutate) => mutate(current), body));
}

describe("fuzzing the decoders", () => {
  it("starts from requests that are taken", () => {
    expect(decode(jsonRequest, undefined)).toBe("taken");
    expect(decode(binaryRequest, binaryHeader.length)).toBe("taken");
  });

  it("takes or refuses 8,000 mutated JSON bodies, never fails otherwise", () => {
    const seen = { taken: 0, refused: 0 };
    fc.assert(
      fc.property(mutated(jsonRequest), (body) => {
        seen[decode(body, undefined)] += 1;
      }),
      { numRuns: 8000 },
    );
    // Both outcomes: else the mutations would test nothing but the JSON parser.
    expect(seen.taken).toBeGreaterThan(100);
    expect(seen.refused).toBeGreaterThan(1000);
  });

  it("takes or refuses 8,000 mutated binary bodies with header lengths right and wrong", () => {
    const lengths = fc.oneof(
      fc.constant(binaryHeader.length),
      fc.nat(binaryRequest.length + 10),
      fc.constant(2 ** 50),
    );
    fc.assert(
      fc.property(mutated(binaryRequest), lengths, (body, length) => {
        decode(body, length);
      }),
      { numRuns: 8000 },
    );
  });

  it("takes or refuses 4,000 requests of the right outline with anything in their fields", () => {
    const anything = fc.oneof({ maxDepth: 2 }, fc.jsonValue({ maxDepth: 3 }), fc.integer(), fc.double());
    const or = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
      fc.oneof({ weight: 4, arbitrary: value }, { weight: 1, arbitrary: anything });
    const tensor = fc.record(
      {
        name: or(fc.constantFrom("a", "n", "z")),
        shape: or(fc.array(or(fc.integer({ min: -1, max: 3 })), { maxLength: 4 })),
        datatype: or(fc.constantFrom(...datatypes, "BYTES", "fp32")),
        parameters: or(fc.record({ binary_data_size: or(fc.nat(64)) }, { requiredKeys: [] })),
        data: or(fc.array(or(fc.double()), { maxLength: 8 })),
      },
      { requiredKeys: [] },
    );
    const request = fc.record(
      {
        id: or(fc.string()),
        parameters: or(
          fc.dictionary(fc.constantFrom("timeout", "engine", "sequence_id", "priority"), anything),
        ),
        inputs: or(fc.array(or(tensor), { maxLength: 4 })),
        outputs: or(
          fc.array(or(fc.record({ name: or(fc.constant("y")), parameters: anything })), { maxLength: 3 }),
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(request, fc.uint8Array({ maxLength: 64 }), (value, binary) => {
        const json = Buffer.from(JSON.stringify(value));
        decode(Buffer.concat([json, binary]), json.length);
      }),
      { numRuns: 4000 },
    );
  });

  it.each(Object.entries(nastyBodies))("refuses %s at once", (_name, { body, headerLength }) => {
    const began = performance.now();
    expect(decode(body(), headerLength)).toBe("refused");
    // A hang, not a slow machine.
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});
