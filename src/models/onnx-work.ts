import type { OnnxFacts, OnnxNode } from "./onnx.ts";

export type ShapeOf = (tensor: string) => readonly number[] | undefined;

/** Floating-point operations of one run, or why they cannot be told. */
export type OnnxWork =
  | {
      /** Two for each multiply-accumulate. */
      readonly operations: number;
      /** Counted nodes by operator. */
      readonly nodes: Readonly<Record<string, number>>;
    }
  | { readonly unknown: string };

/** Tensors whose shapes `countWork` asks for. */
export function shapesNeeded({ nodes }: OnnxFacts): ReadonlySet<string> {
  return new Set(nodes.flatMap((node) => counted.get(node.opType)?.tensors(node) ?? []));
}

/**
 * Multiply-accumulates of convolutions and matrix products, times two. All else (activations, pooling, sums, biases)
 * is left out, as is usual; multiplications with padding are in.
 */
export function countWork({ nodes }: OnnxFacts, shapeOf: ShapeOf): OnnxWork {
  let products = 0;
  const found: Record<string, number> = {};
  for (const node of nodes) {
    const { opType, domain } = node;
    if ((domain !== "" && domain !== "ai.onnx") || uncounted.has(opType))
      return { unknown: `operator ${domain === "" ? opType : `${domain}.${opType}`} is not counted` };
    const rule = counted.get(opType);
    if (rule === undefined) continue;
    const shapes: (readonly number[])[] = [];
    for (const tensor of rule.tensors(node)) {
      const shape = shapeOf(tensor);
      if (shape === undefined || shape.some((size) => !(size >= 0)))
        return { unknown: `the shape of ${opType}'s tensor "${tensor}" is ${told(shape)}` };
      shapes.push(shape);
    }
    products += rule.products(...(shapes as [readonly number[], readonly number[]]));
    found[opType] = (found[opType] ?? 0) + 1;
  }
  return { operations: 2 * products, nodes: found };
}

interface Rule {
  readonly tensors: (node: OnnxNode) => readonly string[];
  readonly products: (first: readonly number[], second: readonly number[]) => number;
}

const [input, weights, output] = [
  ({ inputs }: OnnxNode) => inputs[0] ?? "",
  ({ inputs }: OnnxNode) => inputs[1] ?? "",
  ({ outputs }: OnnxNode) => outputs[0] ?? "",
];

const counted: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  // Weights are [out, in / groups, ...kernel]: each output element is made of the last sizes' product.
  [
    "Conv",
    {
      tensors: (node) => [output(node), weights(node)],
      products: (y, w) => elements(y) * elements(w.slice(1)),
    },
  ],
  // Weights are [in, out / groups, ...kernel]: each input element is spread over the last sizes' product.
  [
    "ConvTranspose",
    {
      tensors: (node) => [input(node), weights(node)],
      products: (x, w) => elements(x) * elements(w.slice(1)),
    },
  ],
  // A is [M, K] or its transpose, Y is [M, N].
  ["Gemm", { tensors: (node) => [input(node), output(node)], products: (a, [, n = 1]) => elements(a) * n }],
  [
    "MatMul",
    { tensors: (node) => [input(node), output(node)], products: (a, y) => elements(y) * (a.at(-1) ?? 1) },
  ],
]);

/** Operators of the default domain, as of ONNX 1.23, that multiply too or hold graphs that may. */
const uncounted: ReadonlySet<string> = new Set([
  ...["AffineGrid", "Attention", "CausalConvWithState", "ConvInteger", "DeformConv", "Det", "DFT", "Einsum"],
  ...["GRU", "If", "LinearAttention", "Loop", "LSTM", "MatMulInteger", "QLinearConv", "QLinearMatMul"],
  ...["RNN", "RotaryEmbedding", "Scan", "SequenceMap", "STFT"],
]);

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function told(shape: readonly number[] | undefined): string {
  return shape === undefined ? "not known" : `[${shape.map((size) => (size >= 0 ? size : "?")).join(", ")}]`;
}
