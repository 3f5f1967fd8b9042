import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureSystemPackage } from "../../scripts/system-packages.mjs";

export const redisMissing = await ensureSystemPackage({ package: "redis-server", command: "redis-server" });

/** A real redis-server on a port of its own, that can be killed and come back with its data. */
export class RedisServer {
  port = 0;
  #process: ChildProcess | undefined;
  #directory = "";

  async prepare(): Promise<void> {
    this.#directory = await mkdtemp(join(tmpdir(), "crosscheck-redis-"));
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    this.port = (probe.address() as { port: number }).port;
    probe.close();
  }
  async start(): Promise<void> {
    this.#process = spawn(
      "redis-server",
      [
        "--port",
        String(this.port),
        "--bind",
        "127.0.0.1",
        "--dir",
        this.#directory,
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
      ],
      { stdio: ["ignore", "pipe", "ignore"] },
    );
    for await (const chunk of this.#process.stdout ?? [])
      if (String(chunk).includes("Ready to accept")) break;
    this.#process.stdout?.resume();
  }
  async kill(): Promise<void> {
    if (!this.#process) return;
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await gone;
    this.#process = undefined;
  }
  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }
}
