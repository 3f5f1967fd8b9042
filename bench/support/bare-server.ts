/**
 * What one would write without Crosscheck: Hono and onnxruntime-node in one process, V2 binary in and out. No isolation,
 * metrics, checks beyond what is needed to read the body, or audit; the yardstick of bench/serving.ts.
 * argv: NAME=ARTIFACT.onnx ...
 */
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { env, Tensor } from "onnxruntime-node";
import { openSession } from "./session.ts";

env.logLevel = "error";
const sessions = new Map(
  await Promise.all(
    process.argv.slice(2).map(async (argument) => {
      const [name = "", artifact = ""] = argument.split("=");
      return [name, await openSession(artifact)] as const;
    }),
  ),
);

const app = new Hono();
app.post("/v2/models/:model/infer", async (c) => {
  const session = sessions.get(c.req.param("model"));
  if (!session) return c.json({ error: "unknown model" }, 404);
  const body = await c.req.arrayBuffer();
  const headBytes = Number(c.req.header("inference-header-content-length"));
  const head = JSON.parse(Buffer.from(body, 0, headBytes).toString()) as {
    id?: string;
    inputs: { name: string; shape: number[]; parameters: { binary_data_size: number } }[];
  };
  const feeds: Record<string, Tensor> = {};
  let at = headBytes;
  for (const { name, shape, parameters } of head.inputs) {
    const data = new Float32Array(body.slice(at, at + parameters.binary_data_size));
    feeds[name] = new Tensor("float32", data, shape);
    at += parameters.binary_data_size;
  }
  const results = await session.run(feeds);
  const outputs = Object.entries(results).map(([name, tensor]) => {
    const { buffer, byteOffset, byteLength } = tensor.data as Float32Array;
    return { name, shape: tensor.dims, bytes: Buffer.from(buffer, byteOffset, byteLength) };
  });
  const reply = Buffer.from(
    JSON.stringify({
      id: head.id,
      model_name: c.req.param("model"),
      model_version: "1",
      outputs: outputs.map(({ name, shape, bytes }) => ({
        name,
        datatype: "FP32",
        shape,
        parameters: { binary_data_size: bytes.byteLength },
      })),
    }),
  );
  return c.body(new Uint8Array(Buffer.concat([reply, ...outputs.map(({ bytes }) => bytes)])), 200, {
    "content-type": "application/octet-stream",
    "inference-header-content-length": String(reply.byteLength),
  });
});

const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) =>
  process.stdout.write(`http://127.0.0.1:${port}\n`),
);
process.once("SIGTERM", () => {
  server.close();
  process.exit(0);
});
