import { describe, expect, it } from "vitest";
import type { Datatype, Tensor, TensorSpec } from "../../src/core/tensor.ts";
import { parseInferRequest } from "../../src/protocol/v2-request.ts";
import { encodeInferResponse, resolveOutputs } from "../../src/protocol/v2-response.ts";

const scores: Tensor = {
  name: "scores",
  datatype: "FP32",
  shape: [2, 3],
  data: new Uint8Array(Float32Array.of(0.1, 0.7, 0.2, 5, -1, 5).buffer),
};
const count: Tensor = {
  name: "count",
  datatype: "INT64",
  shape: [1],
  data: new Uint8Array(BigInt64Array.of(9007199254740993n).buffer),
};

type Wanted = Parameters<typeof encodeInferResponse>[0]["wanted"];

function encode(outputs: readonly Tensor[], wanted: Wanted, labels?: readonly string[]) {
  const { headerLength, parts } = encodeInferResponse({
    id: "7",
    model: "m",
    engine: "ort-1",
    outputs,
    wanted,
    labels,
  });
  const whole = Buffer.concat(parts);
  const text = whole.subarray(0, headerLength ?? whole.length).toString();
  return {
    headerLength,
    text,
    binary: whole.subarray(headerLength ?? whole.length),
    value: JSON.parse(text) as unknown,
  };
}

const asJson = (name: string, classification = 0) => ({ name, binary: false, classification });
const asBinary = (name: string, classification = 0) => ({ name, binary: true, classification });

describe("an infer response", () => {
  it("is V2's JSON with the engine named", () => {
    const { text, headerLength } = encode([scores, count], [asJson("scores"), asJson("count")]);
    expect(headerLength).toBeUndefined();
    expect(text).toBe(
      '{"id":"7","model_name":"m","model_version":"1","parameters":{"engine":"ort-1"},"outputs":[' +
        '{"name":"scores","datatype":"FP32","shape":[2,3],"data":[0.1,0.7,0.2,5.0,-1.0,5.0]},' +
        '{"name":"count","datatype":"INT64","shape":[1],"data":[9007199254740993]}]}',
    );
  });

  it("mixes JSON and binary outputs, the binary ones after the JSON in order", () => {
    const { value, binary } = encode([count, scores], [asBinary("scores"), asJson("count")]);
    expect(value).toMatchObject({
      outputs: [
        { name: "scores", shape: [2, 3], parameters: { binary_data_size: 24 } },
        { name: "count", shape: [1] },
      ],
    });
    expect(binary.equals(Buffer.from(scores.data))).toBe(true);
  });

  it("prints a tensor that lies at any offset of a node Buffer", () => {
    const unaligned = Buffer.concat([Buffer.from([0]), scores.data]).subarray(1);
    const { value } = encode([{ ...scores, data: unaligned }], [asJson("scores")]);
    expect(value).toMatchObject({ outputs: [{ data: [0.1, 0.7, 0.2, 5, -1, 5] }] });
  });

  it("has no silent stand-in for NaN and Infinity in JSON", () => {
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      for (const [datatype, data] of [
        ["FP32", Float32Array.of(1, bad)],
        ["FP64", Float64Array.of(1, bad)],
      ] as [Datatype, Float32Array | Float64Array][]) {
        const tensor: Tensor = { name: "s", datatype, shape: [2], data: new Uint8Array(data.buffer) };
        expect(() => encode([tensor], [asJson("s")])).toThrow(
          /output "s" holds .* at element 1.*binary_data/,
        );
        expect(encode([tensor], [asBinary("s")]).binary.equals(Buffer.from(data.buffer))).toBe(true);
      }
    }
  });
});

describe("classification", () => {
  it("gives value, index and label of the largest, row by row, ties in their order", () => {
    const { value } = encode([scores], [asJson("scores", 2)], ["stop", "yield"]);
    expect(value).toMatchObject({
      outputs: [{ datatype: "BYTES", shape: [2, 2], data: ["0.7:1:yield", "0.2:2", "5:0:stop", "5:2"] }],
    });
  });

  it("gives the top one without sorting, NaN never", () => {
    const data = new Uint8Array(Float32Array.of(Number.NaN, -3, -2).buffer);
    const row: Tensor = { name: "s", datatype: "FP32", shape: [3], data };
    expect(encode([row], [asJson("s", 1)]).value).toMatchObject({
      outputs: [{ shape: [1], data: ["-2:2"] }],
    });
    expect(encode([row], [asJson("s", 9)]).value).toMatchObject({
      outputs: [{ shape: [3], data: ["-2:2", "-3:1", "NaN:0"] }],
    });
  });

  it("ranks whole numbers of 64 bits exactly", () => {
    const data = new Uint8Array(BigUint64Array.of(2n ** 63n, 2n ** 63n + 1n).buffer);
    const row: Tensor = { name: "s", datatype: "UINT64", shape: [2], data };
    expect(encode([row], [asJson("s", 2)]).value).toMatchObject({
      outputs: [{ data: ["9223372036854775809:1", "9223372036854775808:0"] }],
    });
  });

  it("is length-prefixed strings in binary", () => {
    const { binary, value } = encode([scores], [asBinary("scores", 1)], ["stop", "Überholverbot"]);
    const text = Buffer.from("0.7:1:Überholverbot");
    expect(binary.readUInt32LE(0)).toBe(text.length);
    expect(binary.subarray(4, 4 + text.length).equals(text)).toBe(true);
    expect(value).toMatchObject({ outputs: [{ parameters: { binary_data_size: binary.length } }] });
  });
});

describe("outputs asked for", () => {
  const specs: TensorSpec[] = [
    { name: "scores", datatype: "FP32", shape: [-1, 3] },
    { name: "half", datatype: "FP16", shape: [1] },
    { name: "flag", datatype: "BOOL", shape: [1] },
  ];
  const resolve = (request: object) =>
    resolveOutputs(parseInferRequest(Buffer.from(JSON.stringify({ inputs: [], ...request }))), specs);

  it("are all of the model's without a list", () => {
    expect(resolve({ parameters: { binary_data_output: true } }).map(({ name }) => name)).toEqual([
      "scores",
      "half",
      "flag",
    ]);
  });

  it.each([
    [{ outputs: [{ name: "boxes" }] }, /output "boxes" is not one of the model's; it gives "scores", "half"/],
    [{ outputs: [{ name: "half" }] }, /"half" is FP16, which has no JSON form.*"binary_data": true/],
    [{}, /"half" is FP16/],
    [{ outputs: [{ name: "flag", parameters: { classification: 1 } }] }, /BOOL, which has no classification/],
  ])("are refused when the model cannot give them: %j", (request, message) => {
    expect(() => resolve(request)).toThrow(message);
  });
});
