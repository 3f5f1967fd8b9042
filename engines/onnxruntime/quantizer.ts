import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CompileError, type Job } from "./job.ts";
import { runtimeVersion } from "./runtime.ts";

/** The Python that int8 needs: what family.yaml calls {python}, told by its first argument to every program here. */
export const setupRemedy = "run `npx crosscheck setup onnxruntime`; it needs Python 3.10 or later";

/** Where setup notes what it installed, inside the virtual environment. */
export const readyMarker = "crosscheck-ready";

/** What setup installs; the marker holds the same list. */
export function requirements(): readonly string[] {
  return [`onnxruntime==${runtimeVersion()}`, "onnx>=1.17,<2", "numpy>=1.26,<3"];
}

/** Why int8 cannot be built with this Python; undefined when it can. */
export function quantizerProblem(python: string, ownEnvironment: string): string | undefined {
  if (python === join(ownEnvironment, "bin", "python")) {
    try {
      const installed = readFileSync(join(ownEnvironment, readyMarker), "utf8").trim();
      if (installed === requirements().join(" ")) return undefined;
      return "its Python packages are of another version";
    } catch {
      return "its Python packages are not installed";
    }
  }
  // A Python of the user's own choice: asked, since nobody noted what it has.
  const check = spawnSync(python, ["-c", "import onnx, numpy, onnxruntime.quantization"], {
    timeout: 15_000,
  });
  return check.status === 0 ? undefined : `${python} lacks onnx, numpy or onnxruntime`;
}

/** Quantises `model` to int8 with onnxruntime's own tooling. @throws CompileError */
export async function quantize(
  python: string,
  directory: string,
  job: Job,
  paths: { readonly model: string; readonly calibration: string; readonly output: string },
): Promise<void> {
  const { calibrationMethod: method, perChannel, reduceRange } = job.options;
  const jobFile = join(job.workDirectory, "quantize.json");
  await writeFile(jobFile, JSON.stringify({ ...paths, method, perChannel, reduceRange }));
  const child = spawn(python, [join(directory, "quantize.py"), jobFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  });
  if (code === 0) return;
  const last = output.trim().split("\n").at(-1) ?? "";
  if (last.startsWith("{")) {
    const { error, remedy } = JSON.parse(last) as { error: string; remedy: string };
    throw new CompileError(error, remedy);
  }
  throw new CompileError(
    "onnxruntime's quantiser failed on this model",
    "see its traceback in the build's log; try --option calibrationMethod=minmax --option perChannel=false",
  );
}
