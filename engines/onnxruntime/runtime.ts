import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";

/** Version of onnxruntime-node as installed; the quantiser's Python packages are kept equal to it. */
export function runtimeVersion(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  const file = `${main.slice(0, main.lastIndexOf("onnxruntime-node"))}onnxruntime-node/package.json`;
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** Layout optimisation depends on the processor, so its name belongs to every engine. */
export function processorName(): string {
  return cpus()[0]?.model.trim() ?? process.arch;
}
