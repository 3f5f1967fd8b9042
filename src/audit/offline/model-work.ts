import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { tensorShapes } from "../../building/onnx-shapes.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { EngineManifest } from "../../models/manifest.ts";
import { readOnnx } from "../../models/onnx.ts";
import { countWork, shapesNeeded } from "../../models/onnx-work.ts";
import type { Report } from "../report/schema.ts";

type ModelWork = NonNullable<Report["model"]["work"]>;

/** Floating-point operations of one run on an input like this one, or why they are not known. Never rejects. */
export async function modelWork(
  directory: string,
  { file, sha256 }: EngineManifest["source"],
  input: readonly Tensor[],
): Promise<ModelWork> {
  try {
    const bytes = await readFile(join(directory, file));
    if (createHash("sha256").update(bytes).digest("hex") !== sha256)
      return unknown(`${file} is not the file that the reference was built from`);
    const facts = readOnnx(bytes, file);
    const inputs = new Map(input.map(({ name, shape }) => [name, shape]));
    const shapes = await tensorShapes({ bytes, name: file, facts }, inputs, shapesNeeded(facts));
    const work = countWork(facts, (tensor) => shapes.get(tensor));
    if ("unknown" in work) return unknown(work.unknown);
    return { floatingPointOperations: work.operations, countedNodes: work.nodes, unknownReason: null };
  } catch (error) {
    return unknown((error as Error).message.trim());
  }
}

function unknown(unknownReason: string): ModelWork {
  return { floatingPointOperations: null, countedNodes: {}, unknownReason };
}
