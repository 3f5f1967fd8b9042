// An engine host whose answers are known: input x FP32 [1,4]; outputs scores = x and boxes = -x. Its fault is in the
// manifest's options. It keeps to docs/engine-host.md and shares no code with Crosscheck.
import fs from "node:fs";
import { read } from "../../../../hosting/programs/frame-socket.mjs";

let options = {};
let runs = 0;
let lastRun = performance.now();

const outputs = [
  { name: "scores", datatype: "FP32", shape: [1, 4] },
  { name: "boxes", datatype: "FP32", shape: [1, 4] },
];

/** A number in 0..1 that depends on the input alone, so that a fault strikes the same inputs every time. */
function draw(x) {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  let hash = 2166136261;
  for (const word of bits) hash = Math.imul(hash ^ word, 16777619) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519) >>> 0;
  return (hash >>> 0) / 2 ** 32;
}

function sleep(microseconds) {
  const until = process.hrtime.bigint() + BigInt(Math.round(microseconds * 1000));
  if (microseconds > 2000)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, microseconds / 1000 - 1);
  while (process.hrtime.bigint() < until);
}

function engine(x) {
  const { sleepMicroseconds = 500, fault, rate = 0 } = options;
  const idle = performance.now() - lastRun;
  runs++;
  const struck = draw(x) < rate;
  let time = sleepMicroseconds;
  if (fault === "slow" && Math.random() < rate) time *= 10;
  if (fault === "drift") time *= 1 + runs / 300;
  if (fault === "slowAfterIdle" && idle > 200) time *= 40;
  sleep(time);
  lastRun = performance.now();
  if (fault === "crash" && struck) process.exit(9);
  const scores = Float32Array.from(x);
  const boxes = scores.map((value) => -value);
  if (fault === "wrongClass" && struck) scores.reverse();
  if (fault === "wrongOnLarge" && x[0] > 1) scores.reverse();
  if (fault === "nan" && struck) scores[2] = Number.NaN;
  if (fault === "unsure" && runs % 3 === 0) scores.reverse();
  return fault === "swapped" ? [boxes, scores] : [scores, boxes];
}

function answer(request, payload, engineNanoseconds = 0n) {
  const head = Buffer.alloc(64);
  request.copy(head, 0, 0, 24);
  head.writeUInt16LE(request.readUInt16LE(4) + 128, 4);
  head.writeUInt32LE(payload.length, 24);
  head.writeBigUInt64LE(engineNanoseconds, 32);
  fs.writeSync(3, Buffer.concat([head, payload]));
}

function load({ manifest, directory }) {
  options = manifest.options;
  if (options.fault !== "loadsOnce") return;
  const mark = `${directory}/loaded`;
  if (fs.existsSync(mark)) sleep(1e12);
  fs.writeFileSync(mark, "");
}

function infer(head, payload) {
  const inputs = payload.readUInt16LE(0);
  const wanted = payload.readUInt16LE(2);
  let at = 8;
  let x;
  for (let i = 0; i < inputs; i++) {
    const data = Buffer.alloc(16);
    fs.readSync(4, data, 0, 16, Number(payload.readBigUInt64LE(at + 8)));
    x = new Float32Array(data.buffer, data.byteOffset, 4);
    at += 24 + 8 * payload.readUInt8(at + 3);
  }
  const began = process.hrtime.bigint();
  const results = engine(x);
  const spent = process.hrtime.bigint() - began;
  const out = Buffer.alloc(8 + wanted * 40);
  out.writeUInt16LE(wanted, 2);
  for (let i = 0; i < wanted; i++) {
    const index = payload.readUInt16LE(at);
    const offset = payload.readBigUInt64LE(at + 8);
    const { buffer } = results[index];
    fs.writeSync(4, Buffer.from(buffer), 0, 16, Number(offset));
    const to = 8 + i * 40;
    out.writeUInt16LE(index, to);
    out.writeUInt8(11, to + 2);
    out.writeUInt8(2, to + 3);
    out.writeBigUInt64LE(offset, to + 8);
    out.writeBigUInt64LE(16n, to + 16);
    out.writeBigInt64LE(1n, to + 24);
    out.writeBigInt64LE(4n, to + 32);
    at += 24;
  }
  answer(head, out, spent);
}

for (;;) {
  const head = read(64);
  const payload = read(head.readUInt32LE(24));
  switch (head.readUInt16LE(4)) {
    case 1:
      load(JSON.parse(payload.toString()));
      answer(
        head,
        Buffer.from(
          JSON.stringify({
            runtime: { name: "scripted", version: "1" },
            device: { kind: "cpu", name: "test" },
            inputs: [{ name: "x", datatype: "FP32", shape: [1, 4] }],
            outputs,
          }),
        ),
      );
      break;
    case 3:
      infer(head, payload);
      break;
    case 5:
      answer(head, Buffer.alloc(0));
      process.exit(0);
      break;
    default:
      answer(head, Buffer.from(head.readUInt16LE(4) === 4 ? "{}" : ""));
  }
}
