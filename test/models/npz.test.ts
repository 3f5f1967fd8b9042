import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { strToU8, zipSync } from "fflate";
import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { GatewayError } from "../../src/core/errors.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { byteSize, datatypes } from "../../src/core/tensor.ts";
import { npyHeader, type NpyArray, parseNpy } from "../../src/models/npy.ts";
import { parseNpz, readNpz, writeNpz } from "../../src/models/npz.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "crosscheck-npz-"));
});

/** The Python of int8 quantisation has numpy wherever the tests' set-up ran. */
const python = [join(packageRoot(), "engines/onnxruntime/.venv/bin/python"), "python3"].find(
  (program) => spawnSync(program, ["-c", "import numpy"]).status === 0,
);

/** An .npy file by hand, as the format's description has it. */
function npy(descr: string, fortran: boolean, shape: string, data: number[], version = 1): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': ${shape}, }\n`;
  const length =
    version === 1
      ? [header.length & 255, header.length >> 8]
      : [header.length & 255, header.length >> 8, 0, 0];
  return Uint8Array.from([0x93, ...strToU8("NUMPY"), version, 0, ...length, ...strToU8(header), ...data]);
}

describe("npy", () => {
  it("reads each version, turns big-endian and column-major arrays round", () => {
    expect(parseNpy(npy("<i2", false, "(2,)", [1, 0, 2, 0]), "a")).toEqual({
      datatype: "INT16",
      shape: [2],
      data: Uint8Array.from([1, 0, 2, 0]),
    });
    expect([...parseNpy(npy(">i2", false, "(2,)", [0, 1, 0, 2], 2), "a").data]).toEqual([1, 0, 2, 0]);
    // [[1, 2, 3], [4, 5, 6]] by columns
    expect([...parseNpy(npy("|u1", true, "(2, 3)", [1, 4, 2, 5, 3, 6], 3), "a").data]).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
    expect(parseNpy(npy("<f8", false, "()", [0, 0, 0, 0, 0, 0, 240, 63]), "a").shape).toEqual([]);
    expect(parseNpy(npy("<f4", false, "(0, 3)", []), "a").shape).toEqual([0, 3]);
  });

  it.each([
    [npy("<f4", false, "(2,)", [0, 0, 0, 0]), "a: shape [2] needs 8 bytes, the file holds 4"],
    [npy("<U5", false, "(1,)", [0]), "a: numpy type '<U5' is not read; convert it"],
    [npy("|O", false, "(1,)", [0]), "numpy type '|O' is not read"],
    [npy("<c8", false, "(1,)", [0]), "numpy type '<c8' is not read"],
    [npy("<f4", false, "(-1,)", [0]), "is not a plain array"],
    [strToU8("hello, this is text"), "is not in numpy's .npy format"],
    [new Uint8Array(0), "is not in numpy's .npy format"],
    [npy("<f4", false, "(1,)", [0, 0, 0, 0], 9), ".npy version 9 is unknown"],
    [npy("<f4", false, "(1,)", []).subarray(0, 20), "is cut short in its header"],
  ])("refuses what it cannot read %#", (bytes, message) => {
    expect(() => parseNpy(bytes, "a")).toThrow(message);
  });

  it("gives back what it wrote, for every datatype and shape", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...datatypes),
        fc.array(fc.nat(5), { maxLength: 5 }),
        fc.infiniteStream(fc.nat(255)),
        (datatype, shape, stream) => {
          const data = Uint8Array.from(
            { length: byteSize(datatype, shape) },
            () => stream.next().value as number,
          );
          const bytes = formatNpy({ datatype, shape, data });
          expect((bytes.length - data.length) % 64).toBe(0);
          expect(parseNpy(bytes, "a")).toEqual({ datatype, shape, data: expect.anything() });
          expect(Buffer.compare(parseNpy(bytes, "a").data, data)).toBe(0);
        },
      ),
      { numRuns: 500 },
    );
  });
});

function formatNpy(array: NpyArray): Uint8Array {
  return Buffer.concat([npyHeader(array), array.data]);
}

describe("npz", () => {
  const arrays = new Map([
    ["image", { datatype: "UINT8" as const, shape: [2, 1, 2], data: Uint8Array.from([1, 2, 3, 4]) }],
    ["labels", { datatype: "INT64" as const, shape: [2], data: new Uint8Array(16) }],
  ]);

  it("gives back what it wrote, and names what is not there", async () => {
    const path = join(directory, "a.npz");
    await writeNpz(path, arrays);
    const npz = await readNpz(path);
    expect(npz.names).toEqual(["image", "labels"]);
    expect(npz.get("image")).toMatchObject({ datatype: "UINT8", shape: [2, 1, 2] });
    expect([...npz.get("image").data]).toEqual([1, 2, 3, 4]);
    expect(() => npz.get("input")).toThrow('has no array "input"; it holds image, labels');
  });

  it.skipIf(python === undefined)("exchanges files with numpy (skipped where no Python has it)", async () => {
    const path = join(directory, "numpy.npz");
    const script = `
import numpy as np, sys
a = np.load(sys.argv[1])
assert a["image"].tolist() == [[[1, 2]], [[3, 4]]] and a["image"].dtype == np.uint8
assert a["labels"].tolist() == [0, 0]
x = np.arange(6, dtype=np.float32).reshape(2, 3)
np.savez(sys.argv[2], c=x, f=np.asfortranarray(x), big=x.astype(">f4"))
np.savez_compressed(sys.argv[3], c=x, text=np.array(["no"]))
`;
    await writeNpz(path, arrays);
    const [stored, deflated] = [join(directory, "stored.npz"), join(directory, "deflated.npz")];
    const run = spawnSync(python ?? "", ["-c", script, path, stored, deflated], { encoding: "utf8" });
    expect(run.stderr).toBe("");
    const expected = Buffer.from(Float32Array.from([0, 1, 2, 3, 4, 5]).buffer);
    const npz = await readNpz(stored);
    for (const name of ["c", "f", "big"]) {
      expect(npz.get(name)).toMatchObject({ datatype: "FP32", shape: [2, 3] });
      expect(Buffer.compare(npz.get(name).data, expected)).toBe(0);
    }
    const other = await readNpz(deflated);
    expect(Buffer.compare(other.get("c").data, expected)).toBe(0);
    expect(() => other.get("text")).toThrow("is not read; convert it");
  });

  it("reads Zip64 sizes", async () => {
    // One stored member; its sizes and offset lie in the Zip64 extra field and end record (APPNOTE 4.3.14, 4.5.3).
    const member = formatNpy({ datatype: "UINT8", shape: [3], data: Uint8Array.from([7, 8, 9]) });
    const name = strToU8("a.npy");
    const local = Buffer.alloc(30 + name.length + 20);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(45, 4);
    local.writeUInt32LE(0xffffffff, 18);
    local.writeUInt32LE(0xffffffff, 22);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(20, 28);
    local.set(name, 30);
    local.writeUInt16LE(1, 30 + name.length);
    local.writeUInt16LE(16, 32 + name.length);
    local.writeBigUInt64LE(BigInt(member.length), 34 + name.length);
    local.writeBigUInt64LE(BigInt(member.length), 42 + name.length);
    const central = Buffer.alloc(46 + name.length + 28);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt32LE(0xffffffff, 20);
    central.writeUInt32LE(0xffffffff, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(28, 30);
    central.writeUInt32LE(0xffffffff, 42);
    central.set(name, 46);
    const extra = 46 + name.length;
    central.writeUInt16LE(1, extra);
    central.writeUInt16LE(24, extra + 2);
    central.writeBigUInt64LE(BigInt(member.length), extra + 4);
    central.writeBigUInt64LE(BigInt(member.length), extra + 12);
    central.writeBigUInt64LE(0n, extra + 20);
    const centralAt = local.length + member.length;
    const end64At = centralAt + central.length;
    const end = Buffer.alloc(56 + 20 + 22);
    end.writeUInt32LE(0x06064b50, 0);
    end.writeBigUInt64LE(44n, 4);
    end.writeBigUInt64LE(1n, 24);
    end.writeBigUInt64LE(1n, 32);
    end.writeBigUInt64LE(BigInt(central.length), 40);
    end.writeBigUInt64LE(BigInt(centralAt), 48);
    end.writeUInt32LE(0x07064b50, 56);
    end.writeBigUInt64LE(BigInt(end64At), 64);
    end.writeUInt32LE(1, 72);
    end.writeUInt32LE(0x06054b50, 76);
    end.writeUInt16LE(0xffff, 84);
    end.writeUInt16LE(0xffff, 86);
    end.writeUInt32LE(0xffffffff, 88);
    end.writeUInt32LE(0xffffffff, 92);
    const npz = parseNpz(Buffer.concat([local, member, central, end]), "z");
    expect([...npz.get("a").data]).toEqual([7, 8, 9]);
  });

  it("refuses other files, missing ones and ones that unpack to too much", async () => {
    const text = join(directory, "text.npz");
    await writeFile(text, "no archive at all, but long enough to look for one");
    await expect(readNpz(text)).rejects.toThrow("is not a readable .npz archive");
    await expect(readNpz(join(directory, "none.npz"))).rejects.toMatchObject({ code: "notFound" });
    await expect(readNpz(directory)).rejects.toMatchObject({ code: "invalid" });
    const bomb = zipSync({ "a.npy": new Uint8Array(100_000) });
    expect(() => parseNpz(bomb, "bomb", { maxBytes: 50_000 })).toThrow("unpacks to more than 50000 bytes");
    await writeFile(text, bomb);
    await expect(readNpz(text, { maxBytes: 10 })).rejects.toMatchObject({ code: "tooLarge" });
  });

  it("answers damaged archives with its own error or the right content, never with another", async () => {
    const path = join(directory, "fuzz.npz");
    await writeNpz(path, arrays);
    const whole = await readFile(path);
    const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(edits, fc.nat(whole.length), (changes, cut) => {
        const bytes = Buffer.from(whole.subarray(0, cut % 3 === 0 ? cut : whole.length));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          const npz = parseNpz(bytes, "fuzz", { maxBytes: 1_000_000 });
          for (const name of npz.names) {
            const array = npz.get(name);
            expect(array.data.length).toBe(byteSize(array.datatype, array.shape));
          }
        } catch (error) {
          expect(error).toBeInstanceOf(GatewayError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
