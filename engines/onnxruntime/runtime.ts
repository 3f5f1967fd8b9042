import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import type { ExecutionProvider } from "./job.ts";

/** Version of onnxruntime-node as installed; the quantiser's Python packages are kept equal to it. */
export function runtimeVersion(): string {
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  const file = `${main.slice(0, main.lastIndexOf("onnxruntime-node"))}onnxruntime-node/package.json`;
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** What an engine of this provider runs on. */
export function deviceOf(provider: ExecutionProvider): { readonly kind: string; readonly name: string } {
  if (provider === "cpu") return { kind: "cpu", name: processorName() };
  const query = spawnSync("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"], { encoding: "utf8" });
  return { kind: "cuda", name: query.stdout?.split("\n")[0]?.trim() || "unknown" };
}

/** Layout optimisation depends on the processor, so its name belongs to every engine. */
function processorName(): string {
  return cpus()[0]?.model.trim() ?? process.arch;
}
