import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rulesFolder } from "./_expressions.ts";

/** A real Prometheus with the project's rules, scraping one target every second. */
export interface Prometheus {
  query(expression: string): Promise<QueryResult>;
  get(path: string): Promise<unknown>;
  close(): Promise<void>;
}

interface QueryResult {
  readonly resultType: string;
  readonly result: readonly {
    readonly metric: Readonly<Record<string, string>>;
    readonly value: [number, string];
  }[];
}

export async function startPrometheus(
  target: string,
  headers: Record<string, string> = {},
): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), "prometheus-"));
  const port = await freePort();
  const bearer = headers["authorization"]?.replace(/^Bearer /, "");
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: ["recording.yaml", "alerts.yaml"].map((file) => fileURLToPath(new URL(file, rulesFolder))),
    scrape_configs: [
      {
        job_name: "crosscheck",
        static_configs: [{ targets: [target] }],
        ...(bearer === undefined ? {} : { authorization: { credentials: bearer } }),
      },
    ],
  };
  // JSON is YAML.
  writeFileSync(join(folder, "prometheus.yaml"), JSON.stringify(config));
  const child = spawn(
    "prometheus",
    [
      `--config.file=${join(folder, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--enable-feature=exemplar-storage",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4_000);
  });
  const base = `http://127.0.0.1:${port}`;
  await ready(child, base, () => errors);

  const get = async (path: string): Promise<unknown> => {
    const response = await fetch(`${base}${path}`);
    const body = (await response.json()) as { status: string; error?: string; data: unknown };
    if (body.status !== "success") throw new Error(body.error);
    return body.data;
  };
  return {
    get,
    query: async (expression) =>
      (await get(`/api/v1/query?query=${encodeURIComponent(expression)}`)) as QueryResult,
    close: () =>
      new Promise((resolve) => {
        child.once("close", () => resolve());
        child.kill("SIGKILL");
      }),
  };
}

async function ready(child: ChildProcess, base: string, errors: () => string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`Prometheus ended at start:\n${errors()}`);
    const response = await fetch(`${base}/-/ready`).catch(() => undefined);
    if (response?.ok === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Prometheus was not ready in 30 s:\n${errors()}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
