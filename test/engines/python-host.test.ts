import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { hostEnv, tensor, temporaryFolder, testPool } from "../hosting/_pool.ts";

const root = path.resolve(import.meta.dirname, "../..");

/** Hosts work without numpy; the views for those who have it are tested where some environment of an engine has it. */
const withNumpy = ["python3", ...environments()].find(
  (python) => spawnSync(python, ["-c", "import numpy"], { stdio: "ignore" }).status === 0,
);

function environments(): string[] {
  const families = path.join(root, "engines");
  return fs
    .readdirSync(families, { withFileTypes: true })
    .filter((family) => family.isDirectory())
    .flatMap(({ name: family }) =>
      fs
        .readdirSync(path.join(families, family))
        .filter((name) => name.startsWith(".venv"))
        .map((name) => path.join(families, family, name, "bin/python")),
    );
}

const program = `
import ctypes
from crosscheck_host import Engine, TensorSpec, serve

class Doubler(Engine):
    def __init__(self, job):
        self.runtime = {"name": "doubler", "version": "1"}
        self.device = {"kind": "cpu", "name": "test"}
        self.inputs = [TensorSpec("x", "FP32", [-1, 2])]
        self.outputs = [TensorSpec("twice", "FP32", [-1, 2]), TensorSpec("sum", "FP64", []), TensorSpec("calls", "INT32", [1])]
        self.mappings = 0

    def mapped(self, memory, address):
        self.mappings += 1

    def infer(self, call):
        x = call.inputs[0]
        # The same bytes by every way there is.
        assert ctypes.string_at(x.address, len(x.data)) == bytes(x.data) == x.array.tobytes()
        call.bound = (call.bound or 0) + 1
        twice, total, calls = call.outputs
        twice.write(2 * x.array)
        total.array[...] = x.array.sum()
        calls.array[0] = 100 * self.mappings + call.bound
        return 1000, 500

serve(Doubler)
`;

// Reason for a skip: numpy is in the environments of the Python engine families only, which are optional.
test.skipIf(withNumpy === undefined)(
  "numpy views lie on the shared memory, and stay bound to a slot",
  async () => {
    const file = path.join(temporaryFolder(), "doubler.py");
    fs.writeFileSync(file, program);
    const { pool } = testPool(
      "python",
      {},
      {
        host: { command: [withNumpy ?? "", file], workingDirectory: root, env: hostEnv() },
      },
    );
    await pool.start();
    const ask = async (rows: number): Promise<number> => {
      const x = {
        ...tensor("x", "FP32", [rows, 2]),
        data: new Uint8Array(new Float32Array(2 * rows).fill(1.5).buffer),
      };
      const { outputs, engineSeconds, deviceSeconds } = await pool.infer({ inputs: [x] });
      const [twice, sum, calls] = outputs.map(({ data }) => data.slice().buffer);
      expect([...new Float32Array(twice as ArrayBuffer)]).toEqual(Array.from({ length: 2 * rows }, () => 3));
      expect(new Float64Array(sum as ArrayBuffer)[0]).toBe(3 * rows);
      expect(outputs.map(({ shape }) => shape)).toEqual([[rows, 2], [], [1]]);
      expect([engineSeconds, deviceSeconds]).toEqual([1e-6, 5e-7]);
      return new Int32Array(calls as ArrayBuffer)[0] ?? 0;
    };
    // bound: kept for the same shapes, dropped with them, and dropped when the memory is mapped anew.
    expect([await ask(1), await ask(1), await ask(2), await ask(2)]).toEqual([101, 102, 101, 102]);
    expect(await ask(100_000)).toBeGreaterThan(200);
  },
);
