import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.ts";
import type { Tensor, TensorSpec } from "../../src/core/tensor.ts";
import { typedView } from "../../src/core/tensor.ts";
import { bindInputs } from "../../src/protocol/v2-inputs.ts";
import { parseInferRequest } from "../../src/protocol/v2-request.ts";

const image: TensorSpec = {
  name: "image",
  datatype: "FP32",
  shape: [-1, 2, 2],
  bounds: [
    [1, 4],
    [2, 2],
    [2, 2],
  ],
};

function jsonBody(value: unknown): Buffer {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
}

function decode(value: unknown, specs: readonly TensorSpec[] = [image]): Tensor[] {
  return bindInputs(parseInferRequest(jsonBody(value)), specs);
}

function decodeBinary(header: unknown, binary: Uint8Array, specs: readonly TensorSpec[] = [image]): Tensor[] {
  const json = jsonBody(header);
  return bindInputs(parseInferRequest(Buffer.concat([json, binary]), json.length), specs);
}

function elements(tensor: Tensor | undefined): unknown[] {
  if (!tensor) throw new Error("no tensor");
  return Array.from(typedView(tensor.datatype, tensor.data) as Iterable<unknown>);
}

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError);
    expect((error as GatewayError).code).toBe("invalid");
    return (error as GatewayError).message;
  }
  throw new Error("was taken");
}

const flat = { name: "image", shape: [1, 2, 2], datatype: "FP32", data: [1, 2.5, -3, 4e-3] };

describe("the envelope", () => {
  it("keeps id, parameters, engine and time limit", () => {
    const envelope = parseInferRequest(
      jsonBody({ id: "7", parameters: { engine: "autotvm-1", timeout: 2500, own: "x" }, inputs: [flat] }),
    );
    expect(envelope).toMatchObject({
      id: "7",
      pinnedEngine: "autotvm-1",
      timeoutMicroseconds: 2500,
      parameters: { own: "x" },
      outputs: undefined,
      binaryByDefault: false,
    });
  });

  it("lets an output's binary_data override the request's binary_data_output", () => {
    const { outputs } = parseInferRequest(
      jsonBody({
        parameters: { binary_data_output: true },
        inputs: [],
        outputs: [
          { name: "a" },
          { name: "b", parameters: { binary_data: false } },
          { name: "c", parameters: { classification: 3 } },
        ],
      }),
    );
    expect(outputs).toEqual([
      { name: "a", binary: true, classification: 0 },
      { name: "b", binary: false, classification: 0 },
      { name: "c", binary: true, classification: 3 },
    ]);
  });

  it("takes the neutral sequence values that clients without sequences send", () => {
    expect(() =>
      decode({ parameters: { sequence_id: 0, sequence_start: false, priority: 1 }, inputs: [flat] }),
    ).not.toThrow();
  });

  const broken: [what: string, body: unknown, message: RegExp][] = [
    ["no body", "", /body is empty/],
    ["text", "hello", /does not parse/],
    ["NaN", '{"inputs":[{"name":"image","data":[NaN]}]}', /does not parse.*NaN.*binary/],
    ["an array", "[]", /must be a JSON object, not an array/],
    ["null", "null", /must be a JSON object, not null/],
    ["no inputs", {}, /inputs must be an array of tensors, not missing/],
    ["inputs as object", { inputs: {} }, /inputs must be an array/],
    ["null input", { inputs: [null] }, /inputs\[0\] must be a tensor object, not null/],
    ["nameless input", { inputs: [{ ...flat, name: undefined }] }, /inputs\[0\]: name must be/],
    ["number as id", { id: 7, inputs: [flat] }, /id must be a string/],
    ["long id", { id: "x".repeat(257), inputs: [flat] }, /257 characters/],
    ["sequence", { parameters: { sequence_id: 3 }, inputs: [flat] }, /sequence_id is 3.*no state/],
    ["sequence by name", { parameters: { sequence_id: "s" }, inputs: [flat] }, /sequence_id is "s"/],
    ["fractional timeout", { parameters: { timeout: 1.5 }, inputs: [flat] }, /timeout is 1.5.*microseconds/],
    ["negative timeout", { parameters: { timeout: -1 }, inputs: [flat] }, /timeout is -1/],
    ["engine as number", { parameters: { engine: 1 }, inputs: [flat] }, /parameters.engine is 1/],
    ["parameters as array", { parameters: [], inputs: [flat] }, /parameters must be an object, not an array/],
    ["outputs as text", { inputs: [flat], outputs: "scores" }, /outputs must be an array/],
    [
      "an output twice",
      { inputs: [flat], outputs: [{ name: "a" }, { name: "a" }] },
      /output "a" is asked for twice/,
    ],
    [
      "binary_data as text",
      { inputs: [flat], outputs: [{ name: "a", parameters: { binary_data: "yes" } }] },
      /binary_data is "yes"; it must be true or false/,
    ],
    [
      "fractional classification",
      { inputs: [flat], outputs: [{ name: "a", parameters: { classification: 1.5 } }] },
      /classification is 1.5/,
    ],
    ["shape as text", { inputs: [{ ...flat, shape: "1,2,2" }] }, /shape must be an array/],
    ["negative dimension", { inputs: [{ ...flat, shape: [-1, 2, 2] }] }, /shape holds -1/],
    ["fractional dimension", { inputs: [{ ...flat, shape: [1.5] }] }, /shape holds 1.5/],
    ["huge dimension", { inputs: [{ ...flat, shape: [1e300] }] }, /shape holds 1e\+300/],
    [
      "overflowing product",
      { inputs: [{ ...flat, shape: [2 ** 31, 2 ** 31, 2 ** 31] }] },
      /more than .* elements/,
    ],
    [
      "product that hides in a zero",
      { inputs: [{ ...flat, shape: [0, 2 ** 40, 2 ** 40] }] },
      /more than .* elements/,
    ],
    ["rank 17", { inputs: [{ ...flat, shape: Array(17).fill(1) }] }, /17 dimensions; at most 16/],
    ["no data", { inputs: [{ ...flat, data: undefined }] }, /input "image" has no data/],
    ["data as number", { inputs: [{ ...flat, data: 3 }] }, /data must be an array/],
    [
      "both kinds of data",
      { inputs: [{ ...flat, parameters: { binary_data_size: 16 } }] },
      /both data and binary_data_size/,
    ],
    [
      "shared memory",
      { inputs: [{ ...flat, parameters: { shared_memory_region: "r" } }] },
      /shared memory regions are not offered/,
    ],
  ];
  it.each(broken)("refuses %s", (_what, body, message) => {
    expect(refusal(() => decode(body))).toMatch(message);
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(refusal(() => parseInferRequest(Buffer.from([0x7b, 0xff, 0x7d])))).toMatch(/UTF-8/);
  });
});

describe("binding to the model's inputs", () => {
  it("reads flat and nested data alike", () => {
    const nested = {
      ...flat,
      data: [
        [
          [1, 2.5],
          [-3, 4e-3],
        ],
      ],
    };
    const expected = [1, 2.5, -3, Math.fround(4e-3)];
    expect(elements(decode({ inputs: [flat] })[0])).toEqual(expected);
    expect(elements(decode({ inputs: [nested] })[0])).toEqual(expected);
  });

  it("gives the tensors in the model's order, whatever the request's", () => {
    const specs: TensorSpec[] = [
      { name: "a", datatype: "INT8", shape: [1] },
      { name: "b", datatype: "UINT8", shape: [1] },
    ];
    const inputs = [
      { name: "b", shape: [1], datatype: "UINT8", data: [2] },
      { name: "a", shape: [1], datatype: "INT8", data: [-1] },
    ];
    expect(decode({ inputs }, specs).map(({ name }) => name)).toEqual(["a", "b"]);
  });

  it("takes a scalar and an empty tensor", () => {
    const scalar: TensorSpec = { name: "s", datatype: "FP64", shape: [] };
    const empty: TensorSpec = { name: "s", datatype: "FP64", shape: [-1, 2] };
    const given = { name: "s", datatype: "FP64" };
    expect(elements(decode({ inputs: [{ ...given, shape: [], data: [1.5] }] }, [scalar])[0])).toEqual([1.5]);
    expect(decode({ inputs: [{ ...given, shape: [0, 2], data: [] }] }, [empty])[0]?.data.byteLength).toBe(0);
  });

  const misfits: [what: string, input: object, message: RegExp][] = [
    [
      "another name",
      { ...flat, name: "picture" },
      /input "picture" is not one of the model's; it takes "image"/,
    ],
    ["another datatype", { ...flat, datatype: "FP64" }, /has datatype "FP64"; the model wants FP32/],
    ["BYTES", { ...flat, datatype: "BYTES", data: ["x"] }, /has datatype "BYTES"; the model wants FP32/],
    ["another rank", { ...flat, shape: [2, 2] }, /has shape \[2,2\]; the model wants \[1\.\.4,2,2\]/],
    ["another size", { ...flat, shape: [1, 2, 3] }, /has shape \[1,2,3\]/],
    [
      "a batch beyond the bounds",
      { ...flat, shape: [5, 2, 2] },
      /has shape \[5,2,2\]; the model wants \[1\.\.4/,
    ],
    ["an empty batch", { ...flat, shape: [0, 2, 2], data: [] }, /has shape \[0,2,2\]/],
    ["too few elements", { ...flat, data: [1, 2, 3] }, /data has 3 elements; shape \[1,2,2\] wants 4/],
    ["too many elements", { ...flat, data: [1, 2, 3, 4, 5] }, /data has 5 elements/],
    ["ragged nesting", { ...flat, data: [[[1, 2], [3]]] }, /1 elements at nesting level 3.* wants 2/],
    ["shallow nesting", { ...flat, data: [[1, 2, 3, 4]] }, /4 elements at nesting level 2/],
    ["mixed nesting", { ...flat, data: [[[1, 2], 3]] }, /holds 3 at nesting level 2; an array belongs there/],
    [
      "deep nesting",
      {
        ...flat,
        data: [
          [
            [[1], 2],
            [3, 4],
          ],
        ],
      },
      /element 0 is an array; FP32 wants numbers/,
    ],
    ["null", { ...flat, data: [1, null, 3, 4] }, /input "image": element 1 is null; FP32 wants numbers/],
    ["a boolean", { ...flat, data: [1, 2, true, 4] }, /element 2 is true/],
    ["a text", { ...flat, data: ["1", 2, 3, 4] }, /element 0 is "1"/],
    ["beyond FP32", { ...flat, data: [1, 2, 3, 1e39] }, /element 3 is 1e\+39; out of FP32's range/],
  ];
  it.each(misfits)("refuses %s", (_what, input, message) => {
    expect(refusal(() => decode({ inputs: [input] }))).toMatch(message);
  });

  it("refuses 1e400, which JSON.parse makes infinite", () => {
    const body = '{"inputs":[{"name":"image","shape":[1,2,2],"datatype":"FP32","data":[1,2,3,1e400]}]}';
    expect(refusal(() => decode(body))).toMatch(/element 3 is a number beyond the range of a double/);
  });

  it("names what is missing and what is twice", () => {
    expect(refusal(() => decode({ inputs: [] }))).toMatch(/input "image" is missing/);
    expect(refusal(() => decode({ inputs: [flat, flat] }))).toMatch(/input "image" is given twice/);
  });

  it("refuses FP16 and BF16 in JSON and says how to send them", () => {
    for (const datatype of ["FP16", "BF16"] as const) {
      const body = { inputs: [{ name: "h", shape: [1], datatype, data: [1] }] };
      expect(refusal(() => decode(body, [{ name: "h", datatype, shape: [1] }]))).toMatch(
        /no JSON form.*binary/,
      );
    }
  });
});

describe("whole numbers", () => {
  const one = (datatype: TensorSpec["datatype"], text: string): Tensor | undefined =>
    decode(`{"inputs":[{"name":"n","shape":[2],"datatype":"${datatype}","data":[${text},0]}]}`, [
      { name: "n", datatype, shape: [2] },
    ])[0];

  const ranges = [
    ["INT8", "-128", "127"],
    ["INT16", "-32768", "32767"],
    ["INT32", "-2147483648", "2147483647"],
    ["INT64", "-9223372036854775808", "9223372036854775807"],
    ["UINT8", "0", "255"],
    ["UINT16", "0", "65535"],
    ["UINT32", "0", "4294967295"],
    ["UINT64", "0", "18446744073709551615"],
  ] as const;
  it.each(ranges)("%s holds %s to %s exactly and nothing beyond", (datatype, min, max) => {
    expect(String(elements(one(datatype, min))[0])).toBe(min);
    expect(String(elements(one(datatype, max))[0])).toBe(max);
    expect(refusal(() => one(datatype, String(BigInt(min) - 1n)))).toMatch(/element 0 is -/);
    expect(refusal(() => one(datatype, String(BigInt(max) + 1n)))).toMatch(/wants whole numbers from/);
    expect(refusal(() => one(datatype, "0.5"))).toMatch(/element 0 is 0.5/);
    expect(refusal(() => one(datatype, "1e400"))).toMatch(/element 0 is a number beyond/);
  });

  it("keeps values beyond 2^53 exact, and wants plain digits for them", () => {
    expect(elements(one("INT64", "9007199254740993"))).toEqual([9007199254740993n, 0n]);
    expect(elements(one("INT64", "-9007199254740993"))).toEqual([-9007199254740993n, 0n]);
    expect(refusal(() => one("INT64", "9.007199254740993e15"))).toMatch(/plain digits/);
    expect(elements(one("INT64", "1e3"))).toEqual([1000n, 0n]);
  });

  it("takes true and false, nothing else, for BOOL", () => {
    const flags = (data: unknown[]): Tensor | undefined =>
      decode({ inputs: [{ name: "n", shape: [2], datatype: "BOOL", data }] }, [
        { name: "n", datatype: "BOOL", shape: [2] },
      ])[0];
    expect(elements(flags([true, false]))).toEqual([1, 0]);
    expect(refusal(() => flags([true, 0]))).toMatch(/element 1 is 0; BOOL wants true or false/);
  });
});

describe("binary data", () => {
  const header = (bytes: unknown, shape = [1, 2, 2]): object => ({
    inputs: [{ name: "image", shape, datatype: "FP32", parameters: { binary_data_size: bytes } }],
  });
  const bytes = new Uint8Array(Float32Array.of(1, Number.NaN, -0, Infinity).buffer);

  it("is used where it lies in the body, NaN and all", () => {
    const json = jsonBody(header(16));
    const body = Buffer.concat([json, bytes]);
    const [tensor] = bindInputs(parseInferRequest(body, json.length), [image]);
    expect(tensor?.data.buffer).toBe(body.buffer);
    expect(tensor?.data.byteOffset).toBe(body.byteOffset + json.length);
    expect(elements(tensor)).toEqual([1, Number.NaN, -0, Infinity]);
  });

  it("mixes with JSON inputs in any order", () => {
    const specs: TensorSpec[] = ["a", "b", "c"].map((name) => ({ name, datatype: "UINT8", shape: [2] }));
    const inputs = [
      { name: "c", shape: [2], datatype: "UINT8", parameters: { binary_data_size: 2 } },
      { name: "b", shape: [2], datatype: "UINT8", data: [3, 4] },
      { name: "a", shape: [2], datatype: "UINT8", parameters: { binary_data_size: 2 } },
    ];
    const tensors = decodeBinary({ inputs }, Uint8Array.of(5, 6, 1, 2), specs);
    expect(tensors.map(elements)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
  });

  const broken: [what: string, header: object, binary: Uint8Array, message: RegExp][] = [
    [
      "a size that is not the shape's",
      header(12),
      bytes.subarray(0, 12),
      /binary_data_size is 12, but FP32 of shape \[1,2,2\] takes 16/,
    ],
    ["a body cut short", header(16), bytes.subarray(0, 15), /only 15 bytes are left.*cut short/],
    ["no binary part at all", header(16), new Uint8Array(), /only 0 bytes are left/],
    ["bytes too many", header(16), new Uint8Array(17), /17 bytes after its JSON part, but .* add up to 16/],
    ["a negative size", header(-16), bytes, /binary_data_size is -16/],
    ["a fractional size", header(16.5), bytes, /binary_data_size is 16.5/],
    ["a size as text", header("16"), bytes, /binary_data_size is "16"/],
    ["a huge size", header(2 ** 60), bytes, /binary_data_size is/],
  ];
  it.each(broken)("refuses %s", (_what, head, binary, message) => {
    expect(refusal(() => decodeBinary(head, binary))).toMatch(message);
  });

  it("refuses a header length beyond the body", () => {
    expect(refusal(() => parseInferRequest(Buffer.from("{}"), 3))).toMatch(
      /is 3, but the body has only 2 bytes/,
    );
  });

  it("refuses binary bytes without the header length", () => {
    const body = Buffer.concat([jsonBody(header(16)), bytes]);
    expect(refusal(() => bindInputs(parseInferRequest(body), [image]))).toMatch(/UTF-8|does not parse/);
  });

  it("refuses a BOOL that is neither 0 nor 1", () => {
    const specs: TensorSpec[] = [{ name: "flag", datatype: "BOOL", shape: [2] }];
    const head = {
      inputs: [{ name: "flag", shape: [2], datatype: "BOOL", parameters: { binary_data_size: 2 } }],
    };
    expect(elements(decodeBinary(head, Uint8Array.of(0, 1), specs)[0])).toEqual([0, 1]);
    expect(refusal(() => decodeBinary(head, Uint8Array.of(1, 2), specs))).toMatch(/byte 1 is 2; a BOOL/);
  });

  it("takes a body without JSON for the one input, its dynamic dimension from the size", () => {
    const raw = (size: number, specs: readonly TensorSpec[]): Tensor[] =>
      bindInputs(parseInferRequest(new Uint8Array(size), 0), specs);
    expect(raw(32, [image])[0]?.shape).toEqual([2, 2, 2]);
    expect(refusal(() => raw(33, [image]))).toMatch(/33 bytes, which is no FP32/);
    expect(refusal(() => raw(16 * 5, [image]))).toMatch(/80 bytes/);
    expect(refusal(() => raw(0, [image]))).toMatch(/0 bytes/);
    expect(refusal(() => raw(16, [image, { ...image, name: "other" }]))).toMatch(/the model takes 2/);
    expect(refusal(() => raw(16, [{ name: "x", datatype: "FP32", shape: [-1, -1] }]))).toMatch(/send JSON/);
  });
});
