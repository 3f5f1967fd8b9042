import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { readOnnx } from "../../src/models/onnx.ts";
import { withConstantInitializers } from "../../src/models/onnx-rewrite.ts";

const { LengthDelimited, Varint } = WireType;
const demo = join(packageRoot(), "models/traffic-signs/model.onnx");
const slim = join(packageRoot(), "../shared/data/ultraface/slim-320.onnx");

type Fill = (writer: BinaryWriter) => void;

/** A nested message. */
function message(writer: BinaryWriter, field: number, fill: Fill): void {
  writer.tag(field, LengthDelimited).fork();
  fill(writer);
  writer.join();
}
const text = (writer: BinaryWriter, field: number, value: string) =>
  writer.tag(field, LengthDelimited).string(value);

/** ValueInfoProto: a size of a name is dynamic. */
function value(name: string, elementType: number, sizes: readonly (number | string)[] | undefined): Fill {
  return (info) => {
    text(info, 1, name);
    message(info, 2, (type) =>
      message(type, 1, (tensor) => {
        tensor.tag(1, Varint).int32(elementType);
        if (sizes === undefined) return;
        message(tensor, 2, (shape) => {
          for (const size of sizes) {
            message(shape, 1, (dimension) => {
              if (typeof size === "number") dimension.tag(1, Varint).int64(size);
              else text(dimension, 2, size);
            });
          }
        });
      }),
    );
  };
}

/** An export of the old kind: its weight is an input too. */
function oldModel(irVersion: number): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, Varint).int64(irVersion);
  text(writer, 2, "a producer");
  message(writer, 8, (opset) => opset.tag(2, Varint).int64(9));
  message(writer, 8, (opset) => text(opset, 1, "com.example").tag(2, Varint).int64(3));
  message(writer, 7, (graph) => {
    message(graph, 1, (node) => {
      text(node, 1, "x");
      text(node, 1, "w");
      text(node, 2, "y");
      text(node, 4, "Add");
    });
    message(graph, 5, (tensor) => {
      tensor.tag(1, Varint).int64(1).tag(2, Varint).int32(1);
      text(tensor, 8, "w");
      tensor.tag(9, LengthDelimited).bytes(new Uint8Array(4));
    });
    message(graph, 11, value("x", 10, ["batch", 3, 2]));
    message(graph, 11, value("w", 1, [1]));
    message(graph, 12, value("y", 8, undefined));
  });
  return writer.finish();
}

describe("readOnnx", () => {
  it("tells inputs from initializers, with datatypes, dynamic dimensions and unknown ranks", () => {
    const facts = readOnnx(oldModel(3), "old");
    expect(facts).toMatchObject({
      irVersion: 3,
      opset: 9,
      inputs: [{ name: "x", datatype: "FP16", shape: [-1, 3, 2] }],
      outputs: [{ name: "y", datatype: undefined, shape: undefined }],
      initializers: ["w"],
      replaceable: ["w"],
      externalFiles: [],
    });
    expect(facts.nodes).toMatchObject([{ opType: "Add", domain: "" }]);
  });

  it("reads the demo model", async () => {
    const facts = readOnnx(await readFile(demo), "demo");
    expect(facts.inputs).toMatchObject([{ datatype: "FP32" }]);
    expect(facts.inputs[0]?.shape?.slice(1)).toEqual([3, 48, 48]);
    expect(facts.replaceable).toEqual([]);
  });

  it.each([
    ["text", Buffer.from("this is no model")],
    ["nothing", new Uint8Array(0)],
    ["zeros", new Uint8Array(100)],
  ])("refuses %s", (_, bytes) => {
    expect(() => readOnnx(bytes, "file.onnx")).toThrow(/^file\.onnx: is not an ONNX model: /);
  });

  it("answers damaged models with its own error or facts", async () => {
    const whole = oldModel(8);
    const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 5 });
    fc.assert(
      fc.property(edits, fc.nat(whole.length), (changes, length) => {
        const bytes = Uint8Array.from(whole.subarray(0, length % 2 === 0 ? length : whole.length));
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        try {
          expect(withConstantInitializers(bytes, "f")).toBeInstanceOf(Uint8Array);
        } catch (error) {
          expect(error).toBeInstanceOf(GatewayError);
        }
      }),
      { numRuns: 5000 },
    );
  });
});

describe("withConstantInitializers", () => {
  it("takes initializers off the inputs, raises old versions and leaves everything else", () => {
    for (const version of [3, 8]) {
      const before = oldModel(version);
      const after = withConstantInitializers(before, "old");
      const facts = readOnnx(after, "new");
      expect(facts).toMatchObject({
        irVersion: Math.max(4, version),
        opset: 9,
        initializers: ["w"],
        replaceable: [],
      });
      expect(facts.inputs).toEqual(readOnnx(before, "old").inputs);
      expect(facts.outputs).toEqual(readOnnx(before, "old").outputs);
      expect(Buffer.from(after).includes("a producer")).toBe(true);
      expect(Buffer.from(after).includes("com.example")).toBe(true);
      // Nothing more to do: the very bytes.
      expect(withConstantInitializers(after, "new")).toBe(after);
    }
  });

  it.skipIf(!existsSync(slim))("keeps a real model's weights (skipped without ../shared)", async () => {
    const bytes = Uint8Array.from(await readFile(slim));
    const before = readOnnx(bytes, "slim");
    const after = readOnnx(withConstantInitializers(bytes, "slim"), "slim");
    expect(before.replaceable.length).toBe(before.initializers.length);
    expect(after).toMatchObject({
      replaceable: [],
      initializers: before.initializers,
      inputs: before.inputs,
    });
    expect(after.nodes).toEqual(before.nodes);
  });
});
