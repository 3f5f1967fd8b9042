import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { describe, expect, it } from "vitest";
import { tensorShapes } from "../../src/building/onnx-shapes.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { readOnnx } from "../../src/models/onnx.ts";
import { countWork, type OnnxWork, shapesNeeded } from "../../src/models/onnx-work.ts";

const { LengthDelimited, Varint } = WireType;

interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly ints?: Readonly<Record<string, readonly number[]>>;
  readonly int?: Readonly<Record<string, number>>;
  readonly domain?: string;
}

/** A model whose weights are zeros. */
function onnx(
  inputs: Readonly<Record<string, readonly (number | string)[]>>,
  weights: Readonly<Record<string, readonly number[]>>,
  nodes: readonly Node[],
): Uint8Array {
  const writer = new BinaryWriter().tag(1, Varint).int64(8);
  const message = (field: number, fill: () => void): void => {
    writer.tag(field, LengthDelimited).fork();
    fill();
    writer.join();
  };
  const text = (field: number, value: string) => writer.tag(field, LengthDelimited).string(value);
  message(8, () => writer.tag(2, Varint).int64(13));
  message(7, () => {
    text(2, "graph");
    for (const { op, inputs, output, ints = {}, int = {}, domain } of nodes)
      message(1, () => {
        for (const input of inputs) text(1, input);
        text(2, output);
        text(4, op);
        if (domain !== undefined) text(7, domain);
        for (const [name, values] of Object.entries(ints))
          message(5, () => {
            text(1, name).tag(20, Varint).int32(7);
            for (const value of values) writer.tag(8, Varint).int64(value);
          });
        for (const [name, value] of Object.entries(int))
          message(5, () => text(1, name).tag(20, Varint).int32(2).tag(3, Varint).int64(value));
      });
    for (const [name, shape] of Object.entries(weights))
      message(5, () => {
        for (const size of shape) writer.tag(1, Varint).int64(size);
        writer.tag(2, Varint).int32(1);
        text(8, name);
        writer.tag(9, LengthDelimited).bytes(new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)));
      });
    const value = (field: number, name: string, shape: readonly (number | string)[] | undefined) =>
      message(field, () => {
        text(1, name);
        message(2, () =>
          message(1, () => {
            writer.tag(1, Varint).int32(1);
            if (shape === undefined) return;
            message(2, () => {
              for (const size of shape)
                message(1, () =>
                  typeof size === "number" ? void writer.tag(1, Varint).int64(size) : void text(2, size),
                );
            });
          }),
        );
      });
    for (const [name, shape] of Object.entries(inputs)) value(11, name, shape);
    value(12, nodes.at(-1)?.output ?? "", undefined);
  });
  return writer.finish();
}

async function work(bytes: Uint8Array, inputs: Record<string, readonly number[]> = {}): Promise<OnnxWork> {
  const facts = readOnnx(bytes, "m");
  const shapes = await tensorShapes(
    { bytes, name: "m", facts },
    new Map(Object.entries(inputs)),
    shapesNeeded(facts),
  );
  return countWork(facts, (tensor) => shapes.get(tensor));
}

describe("the work of a model", () => {
  it("is that of its layers: the demo model", async () => {
    // Layer by layer from models/traffic-signs/make/README.md: outputs times products of each.
    const layers = [
      32 * 24 * 24 * (3 * 5 * 5),
      48 * 24 * 24 * (32 * 3 * 3),
      64 * 12 * 12 * (48 * 3 * 3),
      96 * 6 * 6 * (64 * 3 * 3),
      20 * (96 * 3 * 3),
    ];
    expect(await work(await readFile(join(packageRoot(), "models/traffic-signs/model.onnx")))).toEqual({
      operations: 2 * layers.reduce((sum, products) => sum + products, 0),
      nodes: { Conv: 4, Gemm: 1 },
    });
  });

  const ultraface = join(packageRoot(), "../shared/data/ultraface");
  it.skipIf(!existsSync(ultraface))(
    "agrees with shape inference and attributes as the onnx package has them (skipped without ../shared)",
    async () => {
      const of = async (name: string) => work(await readFile(join(ultraface, name)));
      expect(await of("slim-320.onnx")).toMatchObject({ operations: 162_821_120 });
      expect(await of("rfb-320.onnx")).toMatchObject({ operations: 200_837_120 });
    },
  );

  it("counts groups, transposed convolutions and matrix products, for the batch that was asked", async () => {
    const model = onnx(
      { x: ["batch", 4, 5, 5] },
      { depthwise: [4, 1, 3, 3], up: [4, 6, 2, 2], flat: [600, 10], square: [10, 10] },
      [
        {
          op: "Conv",
          inputs: ["x", "depthwise"],
          output: "a",
          ints: { pads: [1, 1, 1, 1] },
          int: { group: 4 },
        },
        { op: "ConvTranspose", inputs: ["a", "up"], output: "b", ints: { strides: [2, 2] } },
        { op: "Flatten", inputs: ["b"], output: "c" },
        { op: "MatMul", inputs: ["c", "flat"], output: "d" },
        { op: "Gemm", inputs: ["d", "square"], output: "e", int: { transB: 1 } },
        { op: "Gemm", inputs: ["d", "e"], output: "f", int: { transA: 1 } },
      ],
    );
    // Without overlap, every element of the transposed convolution's output is one product per input channel.
    const each = 100 * 9 + 6 * 10 * 10 * 4 + 600 * 10 + 10 * 10 + 10 * 10;
    const nodes = { Conv: 1, ConvTranspose: 1, MatMul: 1, Gemm: 2 };
    expect(await work(model, { x: [1, 4, 5, 5] })).toEqual({ operations: 2 * each, nodes });
    expect(await work(model, { x: [3, 4, 5, 5] })).toEqual({ operations: 2 * 3 * each, nodes });
    expect(await work(model)).toEqual({ unknown: `the shape of Conv's tensor "a" is [?, 4, 5, 5]` });
  });

  it("is not told where an operator may hide some", () => {
    const named = (op: string, domain?: string) =>
      countWork(
        readOnnx(onnx({ x: [1, 4] }, {}, [{ op, inputs: ["x"], output: "y", domain: domain ?? "" }]), "m"),
        () => undefined,
      );
    for (const op of ["LSTM", "SequenceMap", "LinearAttention", "CausalConvWithState", "AffineGrid", "Det"])
      expect(named(op)).toEqual({ unknown: `operator ${op} is not counted` });
    expect(named("FusedConv", "com.microsoft")).toEqual({
      unknown: "operator com.microsoft.FusedConv is not counted",
    });
    expect(named("Relu")).toEqual({ operations: 0, nodes: {} });
  });
});
