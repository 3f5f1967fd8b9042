import type { Tensor } from "../core/tensor.ts";

const rows = 4;

/** The inputs repeated along the first axis, where every input has it dynamic; undefined otherwise. */
export function batchOfEqualRows(
  inputs: readonly Tensor[],
  specs: readonly {
    readonly shape: readonly number[];
    readonly bounds?: readonly (readonly [number, number])[] | undefined;
  }[],
): Tensor[] | undefined {
  const can = specs.every(({ shape, bounds }) => shape[0] === -1 && (bounds?.[0]?.[1] ?? rows) >= rows);
  if (!can || inputs.some(({ shape }) => shape[0] !== 1)) return undefined;
  return inputs.map((input) => ({
    ...input,
    shape: [rows, ...input.shape.slice(1)],
    data: Buffer.concat(Array.from({ length: rows }, () => input.data)),
  }));
}

/** Outputs of such a batch, row by row; none when an output has another first axis. */
export function splitRows(outputs: readonly Tensor[]): Tensor[][] {
  if (outputs.some(({ shape }) => shape[0] !== rows)) return [];
  return Array.from({ length: rows }, (_, row) =>
    outputs.map((output) => {
      const bytes = output.data.byteLength / rows;
      return {
        ...output,
        shape: [1, ...output.shape.slice(1)],
        data: output.data.subarray(row * bytes, (row + 1) * bytes),
      };
    }),
  );
}
