import { execFile } from "node:child_process";
import { readFile, statfs } from "node:fs/promises";
import { promisify, stripVTControlCharacters } from "node:util";

/** One thing of the machine that Crosscheck uses, and what to do when it is missing. */
export interface MachineFact {
  readonly name: string;
  readonly ok: boolean;
  /** What was found: a version, a size, a device. */
  readonly detail: string;
  readonly neededFor: string;
  readonly remedy: string | undefined;
}

const run = promisify(execFile);
const commandTimeoutMs = 10_000;
const leastNode = [20, 19] as const;
/** Tensors of requests in flight lie there; containers get 64 MB unless told otherwise. */
const leastSharedBytes = 64e6;

/** Looks at everything at once; a missing thing is a fact, never an error. */
export function inspectMachine(): Promise<readonly MachineFact[]> {
  return Promise.all([
    nodeFact(),
    commandFact({
      name: "Python",
      command: ["python3", "--version"],
      neededFor: "int8 quantisation, TVM, TensorRT",
      remedy: "install Python 3.10 or later with venv (Debian: apt install python3-venv)",
    }),
    commandFact({
      name: "Java",
      command: ["java", "-version"],
      neededFor: "setting up TVM (AutoTVM, AutoScheduler)",
      remedy: "install a JDK (Debian: apt install default-jdk-headless)",
    }),
    commandFact({
      name: "Maven",
      command: ["mvn", "--version"],
      neededFor: "setting up TVM (AutoTVM, AutoScheduler)",
      remedy: "install Maven (Debian: apt install maven)",
    }),
    gpuFact(),
    sharedMemoryFact(),
    commandFact({
      name: "setpriv",
      command: ["setpriv", "--pdeathsig", "KILL", "true"],
      neededFor: "engine hosts that end with a gateway that was killed",
      remedy: "install util-linux 2.33 or later; busybox's setpriv cannot do it",
    }),
    commandFact({
      name: "chrt",
      command: ["chrt", "--idle", "0", "true"],
      neededFor: "shadow runs at idle priority; nice is used without it",
      remedy: "install util-linux, and allow scheduling calls in the container",
    }),
    commandFact({
      name: "taskset",
      command: ["taskset", "--cpu-list", "0-1023", "true"],
      neededFor: "shadow runs on cores of their own, where there are several",
      remedy: "install util-linux, and allow scheduling calls in the container",
    }),
  ]);
}

async function nodeFact(): Promise<MachineFact> {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1]);
  const least = leastNode.join(".");
  return {
    name: "Node",
    ok,
    detail: process.versions.node,
    neededFor: "everything",
    remedy: ok ? undefined : `install Node ${least} or later`,
  };
}

async function commandFact(wanted: {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly neededFor: string;
  readonly remedy: string;
}): Promise<MachineFact> {
  const { name, command, neededFor, remedy } = wanted;
  const [program, ...args] = command;
  try {
    const { stdout, stderr } = await run(program, args, { timeout: commandTimeoutMs });
    const detail = firstLine(stdout) || firstLine(stderr) || "found";
    return { name, ok: true, detail, neededFor, remedy: undefined };
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return { name, ok: false, detail: missing ? "not found" : "does not work here", neededFor, remedy };
  }
}

async function gpuFact(): Promise<MachineFact> {
  const wanted = { name: "GPU", neededFor: "TensorRT, TVM on CUDA, ONNX Runtime's CUDA providers" };
  try {
    const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"];
    const { stdout } = await run("nvidia-smi", query, { timeout: commandTimeoutMs });
    const devices = stdout.trim().split("\n").filter(Boolean);
    if (devices.length > 0) return { ...wanted, ok: true, detail: devices.join("; "), remedy: undefined };
  } catch {
    // Jetsons have no nvidia-smi of use; they are asked for below.
  }
  const board = await readFile("/proc/device-tree/model", "utf8").catch(() => "");
  if (/jetson|orin|xavier/i.test(board)) {
    return { ...wanted, ok: true, detail: board.replaceAll("\0", "").trim(), remedy: undefined };
  }
  const remedy =
    "none is needed for the other compilers; with an NVIDIA GPU in the machine, install its driver";
  return { ...wanted, ok: false, detail: "not found", remedy };
}

async function sharedMemoryFact(): Promise<MachineFact> {
  const wanted = { name: "shared memory", neededFor: "tensors between gateway and engine hosts" };
  try {
    const { bavail, blocks, bsize } = await statfs("/dev/shm");
    const ok = bavail * bsize >= leastSharedBytes;
    const megabytes = (pages: number): string => `${Math.round((pages * bsize) / 1e6)} MB`;
    const detail = `/dev/shm ${megabytes(bavail)} free of ${megabytes(blocks)}`;
    const remedy = "free some, or give the container more (docker run --shm-size 1g)";
    return { ...wanted, ok, detail, remedy: ok ? undefined : remedy };
  } catch {
    return { ...wanted, ok: false, detail: "/dev/shm is not there", remedy: "mount a tmpfs at /dev/shm" };
  }
}

function firstLine(text: string): string {
  // Maven writes its colours even into pipes.
  const lines = stripVTControlCharacters(text).split("\n");
  return (lines.find((line) => line.trim() !== "") ?? "").trim();
}
