import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { hostEnv } from "../hosting/_pool.ts";

const job = {
  model: { name: "m", file: "/m.onnx", sha256: "0" },
  compiler: "c",
  precision: "fp32",
  build: 1,
  threads: 1,
  options: { trials: 4 },
  replay: null,
  calibration: null,
  workDirectory: "/work-directory",
  outDirectory: "/out-directory",
};

/** Runs `body` as a compile program's function. */
async function compile(body: string, onEvent?: (event: object, pid: number) => void) {
  const program = `
import os, subprocess, sys, time
from crosscheck_compile import CompileError, run
def compile(job, progress):
${body.replaceAll(/^/gm, "    ")}
run(compile)
`;
  const child = spawn("python3", ["-c", program], { env: hostEnv() });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    const line = text.trim().split("\n").at(-1) ?? "";
    if (line !== "") onEvent?.(JSON.parse(line) as object, child.pid as number);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
  child.stdin.end(`${JSON.stringify(job)}\n`);
  const [code] = (await once(child, "close")) as [number | null];
  const events = stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as object);
  return { code, events, stderr };
}

test("reports progress and ends with a result", async () => {
  const { code, events } = await compile(`
progress("tuning", task=1, tasks=2, message=job.model_name)
return {"artifact": "a.so", "options": job.options, "notes": {"out": str(job.out_directory)}}`);
  expect(events).toEqual([
    { type: "progress", phase: "tuning", task: 1, tasks: 2, message: "m" },
    { type: "result", artifact: "a.so", options: { trials: 4 }, notes: { out: "/out-directory" } },
  ]);
  expect(code).toBe(0);
});

test("keeps events clean of what the compiler prints, native code and children included", async () => {
  const { events, stderr } = await compile(`
print("from python")
os.write(1, b"from native code\\n")
subprocess.run(["echo", "from a child"])
return {}`);
  expect(events).toEqual([{ type: "result" }]);
  for (const source of ["python", "native code", "a child"]) expect(stderr).toContain(`from ${source}`);
});

test("an error comes with its remedy and exit 1", async () => {
  const { code, events } = await compile(`raise CompileError("no operator Foo", "leave it out")`);
  expect(events).toEqual([{ type: "error", error: "no operator Foo", remedy: "leave it out" }]);
  expect(code).toBe(1);
});

test("an exception is an error too, its traceback in the log", async () => {
  const { code, events, stderr } = await compile(`return 1 / 0`);
  expect(events).toMatchObject([{ type: "error", error: "ZeroDivisionError: division by zero" }]);
  expect(stderr).toContain("Traceback");
  expect(code).toBe(1);
});

test("an interrupt ends it with 130 and neither result nor error", async () => {
  const { code, events } = await compile(
    `
progress("tuning")
time.sleep(60)
return {}`,
    (_, pid) => process.kill(pid, "SIGINT"),
  );
  expect(events).toEqual([{ type: "progress", phase: "tuning" }]);
  expect(code).toBe(130);
});
