// What the engine host adds to the engine: the runtime in this process beside the same runtime behind a pool.
//   npx tsx bench/host-hop.ts [model.onnx] [runs]
// Rounds alternate, so that both meet the same moods of the machine. Needs `npm run build`.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { env, InferenceSession, Tensor } from "onnxruntime-node";
import { systemClock } from "../src/core/clock.ts";
import { silentLog } from "../src/core/log.ts";
import { byteSize } from "../src/core/tensor.ts";
import { createPool } from "../src/hosting/pool.ts";

const root = path.resolve(import.meta.dirname, "..");
const model = path.resolve(process.argv[2] ?? path.join(root, "models/traffic-signs/model.onnx"));
const runs = Number(process.argv[3] ?? 1000);
const rounds = 10;

env.logLevel = "error";
const session = await InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });
const pool = createPool({
  label: { model: path.basename(model), engine: "bench" },
  host: {
    command: [process.execPath, path.join(root, "dist/engines/onnxruntime/host.js")],
    workingDirectory: root,
    env: process.env,
  },
  artifact: { path: model, sha256: createHash("sha256").update(fs.readFileSync(model)).digest("hex") },
  manifest: {},
  directory: path.dirname(model),
  threads: 1,
  instances: { min: 1, max: 1 },
  priority: "serving",
  clock: systemClock,
  log: silentLog,
});
const { inputs } = await pool.start();
const request = {
  inputs: inputs.map(({ name, datatype, shape }) => {
    const known = shape.map((dimension) => Math.max(1, dimension));
    return { name, datatype, shape: known, data: new Uint8Array(byteSize(datatype, known)).fill(1) };
  }),
};
const feeds = Object.fromEntries(
  request.inputs.map(({ name, shape, data }) => [
    name,
    new Tensor("float32", new Float32Array(data.buffer), shape),
  ]),
);

const raw: number[] = [];
const engine: number[] = [];
const whole: number[] = [];
const hop: number[] = [];
for (let round = -1; round < rounds; round += 1) {
  // The first round warms both up.
  if (round === 0) for (const list of [raw, engine, whole, hop]) list.length = 0;
  for (let run = 0; run < runs; run += 1) {
    const begin = performance.now();
    await session.run(feeds);
    raw.push((performance.now() - begin) * 1000);
  }
  for (let run = 0; run < runs; run += 1) {
    const begin = performance.now();
    const { engineSeconds } = await pool.infer(request);
    const spent = (performance.now() - begin) * 1000;
    whole.push(spent);
    engine.push(engineSeconds * 1e6);
    hop.push(spent - engineSeconds * 1e6);
  }
}
await pool.close();
await session.release();

function percentile(list: number[], share: number): string {
  list.sort((a, b) => a - b);
  return (list[Math.floor(list.length * share)] ?? NaN).toFixed(1).padStart(9);
}

console.log(`${path.basename(path.dirname(model))}/${path.basename(model)}, ${rounds} x ${runs} runs, us`);
console.log("                            p50       p90       p99");
for (const [label, list] of [
  ["runtime in process   ", raw],
  ["engine time in host  ", engine],
  ["through the pool     ", whole],
  ["host hop             ", hop],
] as const) {
  console.log(label, percentile(list, 0.5), percentile(list, 0.9), percentile(list, 0.99));
}
