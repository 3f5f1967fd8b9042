// Triton's own perf_analyzer, unchanged, against the gateway. The program lies in the wheel of tritonclient 2.41.0 (the
// package perf-analyzer is an empty placeholder) and wants libb64 of Debian and NVIDIA's CUDA runtime library, though it
// uses no GPU here. Set up once under bench/out; needs python3 with pip, and apt-get and dpkg for libb64.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { register } from "tsx/esm/api";

register();
const { root, startGateway } = await import("./support/gateway.ts");
const { demo, makeRepository } = await import("./support/repository.ts");

const folder = join(root, "bench/out/perf-analyzer");
const program = join(folder, "tritonclient-2.41.0.data/data/bin/perf_analyzer");
const quick = process.argv.includes("--quick");

if (!existsSync(program)) setUp();
chmodSync(program, 0o755);
const repository = await makeRepository([demo], { engines: 1, settings: ["shadow: { sampleRate: 0 }"] });
const gateway = await startGateway(repository.path);
try {
  run("binary, concurrency 1 and 4", ["--concurrency-range", "1:4:3"]);
  run("JSON, concurrency 1", [
    "--concurrency-range",
    "1",
    "--input-tensor-format",
    "json",
    "--output-tensor-format",
    "json",
    "--input-data",
    "zero",
  ]);
} finally {
  await gateway.close();
  repository.remove();
}

function setUp() {
  mkdirSync(folder, { recursive: true });
  const step = (file, ...args) => execFileSync(file, args, { cwd: folder, stdio: ["ignore", 2, 2] });
  step(
    "python3",
    "-m",
    "pip",
    "download",
    "--quiet",
    "--no-deps",
    "tritonclient==2.41.0",
    "nvidia-cuda-runtime-cu12",
  );
  for (const wheel of readdirSync(folder).filter((name) => name.endsWith(".whl")))
    step("python3", "-m", "zipfile", "-e", wheel, ".");
  step("apt-get", "download", "libb64-0d");
  for (const deb of readdirSync(folder).filter((name) => name.endsWith(".deb"))) step("dpkg", "-x", deb, ".");
}

/** Count windows: the time windows of this version never end when a window holds few requests. */
function run(title, more) {
  const args = ["-m", demo.name, "-u", `127.0.0.1:${gateway.port}`, "-i", "http", "--percentile=99"];
  args.push(
    "--measurement-mode",
    "count_windows",
    "--measurement-request-count",
    quick ? "100" : "500",
    "-s",
    "999",
  );
  const libraries = [join(folder, "usr/lib/x86_64-linux-gnu"), join(folder, "nvidia/cuda_runtime/lib")];
  const env = { ...process.env, LD_LIBRARY_PATH: libraries.join(":") };
  const { status, stdout, stderr, error } = spawnSync(program, [...args, ...more], {
    env,
    encoding: "utf8",
    timeout: 300_000,
  });
  if (error) throw error;
  const shown = [...args, ...more].join(" ").replace(`127.0.0.1:${gateway.port}`, "HOST:PORT");
  process.stdout.write(`\n### ${title}\n\n\`perf_analyzer ${shown}\`\n\n\`\`\`\n${stdout.trim()}\n\`\`\`\n`);
  if (status !== 0) throw new Error(`perf_analyzer ended with ${status}: ${stderr}`);
}
