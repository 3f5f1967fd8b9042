// A host that keeps to the protocol until the manifest's `fault` says otherwise. It shares no code with Crosscheck, and
// never maps the memory: it reads and writes the file.
import fs from "node:fs";
import { read } from "./frame-socket.mjs";

const answers = { load: 129, map: 130, infer: 131 };
let fault = "";

function answer(request, payload, { status = 0, patch = () => {} } = {}) {
  const head = Buffer.alloc(64);
  request.copy(head, 0, 0, 24);
  head.writeUInt16LE(request.readUInt16LE(4) + 128, 4);
  head.writeUInt16LE(status, 6);
  head.writeUInt32LE(payload.length, 24);
  patch(head, payload);
  fs.writeSync(3, Buffer.concat([head, payload]));
}

const faults = {
  magic: (head) => head.writeUInt32LE(1, 0),
  type: (head) => head.writeUInt16LE(answers.map, 4),
  status: (head) => head.writeUInt16LE(77, 6),
  generation: (head) => head.writeUInt32LE(head.readUInt32LE(8) + 1, 8),
  slot: (head) => head.writeUInt32LE(9, 12),
  sequence: (head) => head.writeUInt32LE(head.readUInt32LE(16) + 1, 16),
  payload: (head) => head.writeUInt32LE(1 << 21, 24),
  count: (_, payload) => payload.writeUInt16LE(2, 2),
  index: (_, payload) => payload.writeUInt16LE(5, 8),
  datatype: (_, payload) => payload.writeUInt8(1, 10),
  rank: (_, payload) => payload.writeUInt8(17, 11),
  offset: (_, payload) => payload.writeUInt32LE(0, 16),
  bytes: (_, payload) => payload.writeUInt32LE(8, 24),
  shape: (_, payload) => payload.writeUInt32LE(8, 32),
  negative: (_, payload) => payload.fill(0xff, 32, 40),
};

for (;;) {
  const head = read(64);
  const payload = read(head.readUInt32LE(24));
  switch (head.readUInt16LE(4)) {
    case 1: {
      const { manifest } = JSON.parse(payload.toString());
      // `once` names a file: the fault is for the first process that finds it missing.
      const spent = manifest.once !== undefined && fs.existsSync(manifest.once);
      if (manifest.once !== undefined) fs.writeFileSync(manifest.once, "");
      fault = spent ? "" : manifest.fault;
      if (fault === "loadSilence") for (;;) read(1);
      if (fault === "loadStopped") process.kill(process.pid, "SIGSTOP");
      if (fault === "loadKilled") process.kill(process.pid, "SIGKILL");
      const info = {
        runtime: { name: "rogue", version: "1" },
        device: { kind: "cpu", name: "test" },
        inputs: [{ name: "x", datatype: "FP32", shape: [4] }],
        outputs: [{ name: "y", datatype: "FP32", shape: [fault === "loadShape" ? "four" : 4] }],
      };
      answer(head, Buffer.from(fault === "loadText" ? "gibberish" : JSON.stringify(info)));
      break;
    }
    case 2:
      answer(head, Buffer.alloc(0), { status: fault === "mapStatus" ? 2 : 0 });
      break;
    case 3: {
      // One input and one output of rank 1: 8 bytes of counts, 32 of the input, 24 of the output.
      const from = payload.readUInt32LE(16);
      const to = payload.readUInt32LE(48);
      const data = Buffer.alloc(16);
      fs.readSync(4, data, 0, 16, from);
      fs.writeSync(4, data, 0, 16, to);
      const out = Buffer.alloc(40);
      out.writeUInt16LE(1, 2);
      payload.copy(out, 8, 40, 64);
      out.writeUInt8(1, 11);
      out.writeUInt32LE(16, 24);
      out.writeUInt32LE(4, 32);
      if (fault === "early") answer(head, out);
      if (fault === "text") answer(head, Buffer.from("not json"), { status: 2 });
      else if (fault === "cut") answer(head, out.subarray(0, 20));
      else if (fault === "tooLarge") answer(head, Buffer.from('{"index":0,"bytes":3}'), { status: 3 });
      else if (fault === "truncate") {
        fs.ftruncateSync(4, 0);
        answer(head, out);
      } else if (fault === "closed") fs.closeSync(3);
      else answer(head, out, { patch: faults[fault] });
      if (fault === "closed") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
      break;
    }
    case 4:
      answer(head, Buffer.from("{}"));
      break;
    case 5:
      answer(head, Buffer.alloc(0));
      process.exit(0);
  }
}
