import { InferenceSession } from "onnxruntime-node";

/** A built artifact as the onnxruntime host opens it: one thread, the graph as it was compiled. */
export function openSession(artifact: string): Promise<InferenceSession> {
  return InferenceSession.create(artifact, {
    executionProviders: ["cpu"],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: "disabled",
  });
}
