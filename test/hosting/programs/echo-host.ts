// A well-behaved host on the TypeScript library: what comes in goes out. The manifest's `tensors` are its inputs and its
// outputs; the first byte of an input called "command" makes it misbehave the way a runtime may.
import fs from "node:fs";
import type { TensorSpec } from "../../../src/core/tensor.ts";
import { BadRequest } from "../../../src/hosting/host-call.ts";
import { serveEngine } from "../../../src/hosting/host.ts";
import { LoadFailed } from "../../../src/hosting/hosted-engine.ts";

const commands: Record<number, () => void> = {
  1: () => process.exit(3),
  2: () => {
    for (;;);
  },
  3: () => process.kill(process.pid, "SIGKILL"),
  4: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100),
  5: () => {
    throw new Error("the engine stumbled");
  },
  6: () => {
    throw new BadRequest("that is no input");
  },
  7: () => {
    fs.writeSync(2, `${"x".repeat(5000)}\n`.repeat(300));
  },
  8: () => process.kill(process.pid, "SIGSTOP"),
};

await serveEngine<undefined>(async ({ manifest, artifact }) => {
  const { tensors, refuse } = manifest as { tensors: TensorSpec[]; refuse?: boolean };
  if (refuse) throw new LoadFailed("it will not", "ask another");
  console.log(`artifact: ${fs.readFileSync(artifact, "utf8")}`);
  return {
    info: {
      runtime: { name: "echo", version: "1" },
      device: { kind: "cpu", name: "test" },
      inputs: tensors,
      outputs: tensors.map((spec) => ({ ...spec, name: `${spec.name}-out` })),
    },
    infer(call) {
      for (const { spec, data } of call.inputs) if (spec.name === "command") commands[Number(data[0])]?.();
      for (const output of call.outputs) {
        const input = call.inputs[output.index];
        if (input === undefined) throw new Error("no such input");
        const target = output.resize(input.shape);
        const bytes = new Uint8Array(input.data.buffer, input.data.byteOffset, input.data.byteLength);
        new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
      }
      return undefined;
    },
    ping: () => ({ deviceBytes: 7 }),
  };
});
