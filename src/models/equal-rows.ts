import { typedView, type Tensor, type TensorSpec } from "../core/tensor.ts";

/** Rows of a batch whose size is the caller's to choose. */
const chosenRows = 4;

/**
 * What an engine answers to each of the equal rows of one batch, which should be the same; undefined where it takes no
 * batch, answers not by row, or its rows hear of each other: the first axis is time then, or a picture's channels.
 * @param run rejects as the engine fails
 */
export async function answersToEqualRows(
  inputs: readonly Tensor[],
  specs: readonly TensorSpec[],
  run: (inputs: readonly Tensor[]) => Promise<readonly Tensor[]>,
  agree: (one: readonly Tensor[], other: readonly Tensor[]) => Promise<boolean> | boolean,
): Promise<Tensor[][] | undefined> {
  const batch = rowBatch(inputs, specs);
  if (!batch) return undefined;
  const rows = splitRows(await run(repeated(batch)), batch.rows);
  for (const place of [0, batch.rows - 1]) {
    const alone = splitRows(await run(repeated(batch, place)), batch.rows)[place];
    const row = rows[place];
    if (!row || !alone || !(await agree(row, alone))) return undefined;
  }
  return rows;
}

/** One row of every input, and how often it is repeated. */
interface RowBatch {
  readonly row: readonly Tensor[];
  readonly rows: number;
}

/** Where every input has a first axis of one size above 1, or takes any; undefined otherwise. */
function rowBatch(inputs: readonly Tensor[], specs: readonly TensorSpec[]): RowBatch | undefined {
  const [size] = inputs[0]?.shape ?? [];
  if (size === undefined || inputs.some(({ shape }) => shape[0] !== size)) return undefined;
  const canGrow = specs.every(
    ({ shape, bounds }) => shape[0] === -1 && (bounds?.[0]?.[1] ?? chosenRows) >= chosenRows,
  );
  const rows = size === 1 && canGrow ? chosenRows : size;
  if (rows < 2) return undefined;
  const row = inputs.map((input) => ({
    ...input,
    shape: [1, ...input.shape.slice(1)],
    data: input.data.subarray(0, input.data.byteLength / size),
  }));
  return { row, rows };
}

/** The row again and again; with `kept`, other values in every place but that one. */
function repeated({ row, rows }: RowBatch, kept?: number): Tensor[] {
  return row.map((tensor) => {
    const other = kept === undefined ? tensor : otherValues(tensor);
    const places = Array.from({ length: rows }, (_, place) =>
      kept === undefined || place === kept ? tensor.data : other.data,
    );
    return { ...tensor, shape: [rows, ...tensor.shape.slice(1)], data: Buffer.concat(places) };
  });
}

/** The rows of every output; none where an output has not as many. */
function splitRows(outputs: readonly Tensor[], rows: number): Tensor[][] {
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

/** Ones, which every kind of input takes (an index too); of half floats something near one. */
function otherValues(tensor: Tensor): Tensor {
  const data = new Uint8Array(tensor.data.byteLength);
  if (tensor.datatype === "FP16" || tensor.datatype === "BF16") data.fill(0x3c);
  else {
    const view = typedView(tensor.datatype, data);
    if (view instanceof BigInt64Array || view instanceof BigUint64Array) view.fill(1n);
    else view.fill(1);
  }
  return { ...tensor, data };
}
