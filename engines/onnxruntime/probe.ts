import { join } from "node:path";
import { quantizerProblem, setupRemedy } from "./quantizer.ts";
import { deviceOf, runtimeVersion } from "./runtime.ts";

/** Probe program: what this machine can do with onnxruntime, as one line of JSON. */
const [python = "python3"] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify({ compilers: { onnxruntime: await probe() } })}\n`);

async function probe(): Promise<object> {
  try {
    const ort = await import("onnxruntime-node");
    const problem = quantizerProblem(python, join(process.cwd(), ".venv"));
    return {
      available: true,
      version: runtimeVersion(),
      device: deviceOf("cpu"),
      providers: ort.listSupportedBackends().map((backend) => backend.name),
      precisions: {
        fp32: { available: true },
        int8:
          problem === undefined
            ? { available: true }
            : { available: false, reason: problem, remedy: setupRemedy },
      },
    };
  } catch (error) {
    return {
      available: false,
      reason: `onnxruntime-node does not load: ${(error as Error).message}`,
      remedy:
        "run npm ci on this machine; onnxruntime-node has builds for Linux x64 and arm64, macOS and Windows",
    };
  }
}
