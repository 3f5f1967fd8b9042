import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** `crosscheck serve` with two onnxruntime builds of the demo model, under load. */
export interface RunningGateway {
  readonly url: string;
  /** Its engine host processes, oldest first. */
  hostPids(): number[];
  post(path: string, body: unknown): Promise<Response>;
  close(): Promise<void>;
}

const root = fileURLToPath(new URL("../../", import.meta.url));
const demoModel = join(root, "models/traffic-signs/model.onnx");

export const noDemoModel: string | undefined = existsSync(demoModel)
  ? undefined
  : "models/traffic-signs/model.onnx is missing";

export async function startGateway(): Promise<RunningGateway> {
  const folder = await mkdtemp(join(tmpdir(), "crosscheck-metrics-"));
  const repository = join(folder, "models");
  const compile = ["compile", demoModel, "--model", "signs", "--compiler", "onnxruntime", "--builds", "2"];
  await promisify(execFile)(process.execPath, commandLine([...compile, "--repository", repository]), {
    cwd: root,
  });
  // Every request misses this deadline, and no machine is too busy for shadow runs; some inputs are not chosen.
  const settings =
    "task: classification\ndeadlineMs: 0.001\ninstances: 2\nshadow: { maxUtilization: 1, sampleRate: 0.8 }\n";
  await appendFile(join(repository, "signs/model.yaml"), settings);
  const child = spawn(process.execPath, commandLine(["serve", "--port", "0", "--repository", repository]), {
    cwd: root,
    env: { ...process.env, CROSSCHECK_STORE_PATH: join(folder, "var") },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (data: Buffer): void => {
      said += data.toString();
      const [, address] = /listens on (\S+);/.exec(said) ?? [];
      if (address !== undefined && said.includes("Ready after")) resolve(address);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
    child.once("exit", (code) => reject(new Error(`serve ended with ${code}:\n${said}`)));
  });

  const post = (path: string, body: unknown) =>
    fetch(`${url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const load = await startLoad(url, post);
  return {
    url,
    post,
    hostPids: () => hostsOf(child.pid ?? 0),
    async close() {
      load.close();
      child.removeAllListeners("exit");
      child.kill("SIGTERM");
      await once(child, "exit");
      await rm(folder, { recursive: true });
    },
  };
}

/** Requests one after the other, each input a little different, pausing between them for the shadow. */
async function startLoad(url: string, post: RunningGateway["post"]): Promise<{ close(): void }> {
  const { inputs } = (await (await fetch(`${url}/v2/models/signs`)).json()) as {
    inputs: { name: string; datatype: string; shape: number[] }[];
  };
  const stop = new AbortController();
  void (async () => {
    for (let n = 0; !stop.signal.aborted; n += 1) {
      const tensors = inputs.map(({ name, datatype, shape: declared }) => {
        const shape = declared.map((size) => Math.max(1, size));
        const size = shape.reduce((product, one) => product * one, 1);
        return {
          name,
          datatype,
          shape,
          data: Array.from({ length: size }, (_, at) => ((at * 31 + n) % 97) / 97),
        };
      });
      await post("/v2/models/signs/infer", { inputs: tensors }).then(
        (reply) => reply.arrayBuffer(),
        () => {},
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    close() {
      stop.abort();
    },
  };
}

function hostsOf(gateway: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => read(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ")[1] === String(gateway))
    .filter((pid) => read(`/proc/${pid}/cmdline`).includes("host"))
    .sort((a, b) => a - b);
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function commandLine(args: readonly string[]): string[] {
  const entry = "import { main } from './src/main.ts'; await main(process.argv.slice(1));";
  return ["--import", "tsx", "--input-type=module", "--eval", entry, "--", ...args];
}
