import type { OnnxFacts } from "../models/onnx.ts";
import { withShownTensors } from "../models/onnx-rewrite.ts";

/**
 * Shapes of tensors inside an ONNX model, as ONNX Runtime infers them for inputs of given shapes; nothing is run. A size
 * that it cannot infer is -1.
 *
 * @throws Error when ONNX Runtime cannot load the model, GatewayError `invalid` when it is none.
 */
export async function tensorShapes(
  { bytes, name, facts }: { bytes: Uint8Array; name: string; facts: OnnxFacts },
  inputs: ReadonlyMap<string, readonly number[]>,
  wanted: ReadonlySet<string>,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const shapes = new Map<string, readonly number[]>([...facts.initializerShapes, ...inputs]);
  const outputs = new Set(facts.outputs.map((output) => output.name));
  const tensors = [...wanted].filter((tensor) => !shapes.has(tensor) && !outputs.has(tensor));
  // A native library of some size, which few commands need.
  const { InferenceSession } = await import("onnxruntime-node");
  const session = await InferenceSession.create(withShownTensors(bytes, name, { inputs, tensors }), {
    graphOptimizationLevel: "disabled",
    executionProviders: ["cpu"],
    // 3: errors only.
    logSeverityLevel: 3,
  });
  for (const value of session.outputMetadata)
    if (value.isTensor)
      shapes.set(
        value.name,
        value.shape.map((size) => (typeof size === "number" ? size : -1)),
      );
  await session.release();
  return shapes;
}
