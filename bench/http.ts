import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer, Agent, request as httpRequest } from "node:http";
import { setServingFlags } from "../src/cli/v8-flags.ts";
import { silentLog } from "../src/core/log.ts";
import type { ModelSignature, Services } from "../src/http/services.ts";
import { listen } from "../src/http/listen.ts";

/**
 * What HTTP and the protocol cost: the gateway's HTTP face with an engine that answers at once, beside a bare node
 * server that reads the body and sends as many bytes back. The client is a process of its own, one connection.
 * `npx tsx bench/http.ts [requests]`
 */
const count = Number(process.argv[2] ?? 2000);
const elements = 3 * 48 * 48;
const signature: ModelSignature = {
  inputs: [{ name: "image", datatype: "FP32", shape: [1, 3, 48, 48] }],
  outputs: [{ name: "scores", datatype: "FP32", shape: [1, 20] }],
};

if (process.send) await serve();
else await measure();

async function serve(): Promise<void> {
  setServingFlags();
  const outputs = [
    {
      name: "scores",
      datatype: "FP32" as const,
      shape: [1, 20],
      data: new Uint8Array(Float32Array.from({ length: 20 }, Math.random).buffer),
    },
  ];
  const inference: Services["inference"] = {
    resolve: () => signature,
    infer: () => Promise.resolve({ engine: "none-1", outputs, queueSeconds: 0, engineSeconds: 0 }),
  };
  const gateway = await listen(
    { inference, models: undefined as unknown as Services["models"] },
    {
      config: { host: "127.0.0.1", port: 0, access: {}, limits: { bodyBytes: 2 ** 26 } },
      version: "bench",
      log: silentLog,
    },
  );
  const reply = Buffer.alloc(300);
  const bare = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.writeHead(200, { "content-type": "application/json", "content-length": reply.length });
      response.end(reply);
    });
  });
  bare.listen(0, "127.0.0.1");
  await once(bare, "listening");
  const address = bare.address();
  process.send?.({ gateway: gateway.port, bare: typeof address === "object" ? address?.port : 0 });
}

async function measure(): Promise<void> {
  const child = fork(new URL(import.meta.url), { execArgv: ["--import", "tsx"] });
  const [ports] = (await once(child, "message")) as [{ gateway: number; bare: number }];
  const values = Float32Array.from({ length: elements }, Math.random);
  const tensor = { name: "image", datatype: "FP32", shape: [1, 3, 48, 48] };
  const json = Buffer.from(JSON.stringify({ inputs: [{ ...tensor, data: Array.from(values) }] }));
  const header = Buffer.from(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [{ ...tensor, parameters: { binary_data_size: values.byteLength } }],
    }),
  );
  const binary = Buffer.concat([header, Buffer.from(values.buffer)]);
  const binaryHeaders = { "inference-header-content-length": String(header.length) };
  const rows = [
    { name: "bare node, 27 kB", port: ports.bare, body: binary, headers: {} },
    { name: "gateway, binary", port: ports.gateway, body: binary, headers: binaryHeaders },
    { name: "bare node, 133 kB", port: ports.bare, body: json, headers: {} },
    { name: "gateway, JSON of 6,912 numbers", port: ports.gateway, body: json, headers: {} },
  ];
  const times = rows.map(() => [] as number[]);
  const agents = rows.map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
  // Interleaved, so that a busy moment of the machine hits every row.
  for (let round = -200; round < count; round += 1) {
    for (const [index, { port, body, headers }] of rows.entries()) {
      const began = performance.now();
      await post(agents[index], port, body, headers);
      if (round >= 0) times[index]?.push(performance.now() - began);
    }
  }
  for (const [index, row] of rows.entries()) {
    const sorted = (times[index] ?? []).sort((a, b) => a - b);
    const at = (q: number): string => ((sorted[Math.floor(sorted.length * q)] ?? 0) * 1000).toFixed(0);
    process.stdout.write(
      `${row.name.padEnd(32)} p50 ${at(0.5).padStart(6)} us   p99 ${at(0.99).padStart(6)} us\n`,
    );
  }
  child.kill();
}

function post(
  agent: Agent | undefined,
  port: number,
  body: Buffer,
  headers: Record<string, string>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        host: "127.0.0.1",
        port,
        path: "/v2/models/signs/infer",
        method: "POST",
        agent,
        headers: { ...headers, "content-length": body.length },
      },
      (response) => {
        if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`));
        response.resume();
        response.on("end", resolve);
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}
