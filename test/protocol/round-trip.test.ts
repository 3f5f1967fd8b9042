import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Datatype, Tensor } from "../../src/core/tensor.ts";
import { datatypes, elementBytes, typedView } from "../../src/core/tensor.ts";
import { encodeJsonData } from "../../src/protocol/json-data.ts";
import { bindInputs } from "../../src/protocol/v2-inputs.ts";
import { parseInferRequest } from "../../src/protocol/v2-request.ts";
import { encodeInferResponse } from "../../src/protocol/v2-response.ts";

/** Tensors of a datatype with any bits, but finite where JSON must carry them. */
function tensors(datatype: Datatype, forJson: boolean): fc.Arbitrary<Tensor> {
  return fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }).chain((shape) => {
    const bytes = shape.reduce((count, size) => count * size, 1) * elementBytes(datatype);
    return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((bits) => {
      const data = datatype === "BOOL" ? bits.map((byte) => byte & 1) : bits;
      const view = typedView(datatype, data);
      if (forJson && (view instanceof Float32Array || view instanceof Float64Array)) {
        view.forEach((value, index) => {
          if (!Number.isFinite(value)) view[index] = -0;
        });
      }
      return { name: "x", datatype, shape, data };
    });
  });
}

const jsonDatatypes = datatypes.filter((datatype) => datatype !== "FP16" && datatype !== "BF16");
const runs = { numRuns: 300 };

describe("round trips", () => {
  it.each(jsonDatatypes)("%s through JSON, bit for bit", (datatype) => {
    fc.assert(
      fc.property(tensors(datatype, true), (tensor) => {
        const data = Buffer.from(encodeJsonData(tensor)).toString();
        const body = `{"inputs":[{"name":"x","shape":[${tensor.shape.join(",")}],"datatype":"${datatype}","data":[${data}]}]}`;
        const [back] = bindInputs(parseInferRequest(Buffer.from(body)), [tensor]);
        expect(back).toEqual({ ...tensor, data: new Uint8Array(tensor.data) });
      }),
      runs,
    );
  });

  it.each(datatypes)("%s through a binary response and request, bit for bit", (datatype) => {
    fc.assert(
      fc.property(tensors(datatype, false), fc.string(), (tensor, id) => {
        const wanted = [{ name: "x", binary: true, classification: 0 }];
        const encoded = encodeInferResponse({ id, model: "m", engine: "e", outputs: [tensor], wanted });
        const whole = Buffer.concat(encoded.parts);
        expect(whole.byteLength).toBe(encoded.totalBytes);
        const header = JSON.parse(whole.subarray(0, encoded.headerLength).toString()) as {
          id: string;
          outputs: object[];
        };
        expect(header.id).toBe(id);
        const json = Buffer.from(JSON.stringify({ inputs: header.outputs }));
        const body = Buffer.concat([json, whole.subarray(encoded.headerLength)]);
        const [back] = bindInputs(parseInferRequest(body, json.length), [tensor]);
        expect(Buffer.from(back?.data ?? []).equals(Buffer.from(tensor.data))).toBe(true);
        expect(back?.shape).toEqual(tensor.shape);
      }),
      runs,
    );
  });
});
