import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { buildEngines, type BuildRequest } from "../../../src/building/build-engines.ts";
import { createChecker, type EngineCheck } from "../../../src/building/check-engine.ts";
import { type Families, readFamilies } from "../../../src/building/families.ts";
import { type CompilerStatus, probeCompilers } from "../../../src/building/probe.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { packageRoot } from "../../../src/core/package-root.ts";
import { parseYamlFile } from "../../../src/core/yaml-file.ts";
import { engineSchema } from "../../../src/models/manifest.ts";
import { readOnnx } from "../../../src/models/onnx.ts";

const demo = join(packageRoot(), "models/traffic-signs");
const slim = join(packageRoot(), "../shared/data/ultraface/slim-320.onnx");
let families: Families;
let status: CompilerStatus | undefined;
let directory: string;
let repository: string;

beforeAll(async () => {
  families = await readFamilies({ root: packageRoot(), environment: process.env });
  status = (await probeCompilers({ compilers: [families.compiler("onnxruntime")] })).get("onnxruntime");
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "crosscheck-onnxruntime-"));
  repository = join(directory, "models");
});

interface Given extends Partial<BuildRequest> {
  check?: boolean;
}

/** Builds through the real programs and, with `check`, runs what was built in real hosts. */
async function build({ check = false, ...given }: Given = {}) {
  const checks: EngineCheck[] = [];
  const checker = createChecker({ families, clock: systemClock, log: silentLog });
  const request = {
    onnx: join(demo, "model.onnx"),
    model: "signs",
    repository,
    compiler: families.compiler("onnxruntime"),
    builds: 1,
    precision: "fp32",
    options: [],
  };
  try {
    const ids = await buildEngines(
      { ...request, ...given },
      {
        clock: systemClock,
        onEvent: () => {},
        verify: async (engine, model) => {
          if (check) checks.push(await checker.check(engine, model));
        },
      },
    );
    const manifests = await Promise.all(
      ids.map((id) => parseYamlFile(join(engineFolder(id), "engine.yaml"), engineSchema)),
    );
    return { ids, manifests, checks };
  } finally {
    await checker.close();
  }
}

const engineFolder = (id: string): string => join(repository, "signs/engines", id);
const operators = async (id: string): Promise<string[]> =>
  readOnnx(await readFile(join(engineFolder(id), "model.onnx")), id).nodes.map(
    (node) => `${node.domain}:${node.opType}`,
  );

/** The demo model's folder with its samples and preprocessing, no engines. */
async function withSamples(): Promise<void> {
  await mkdir(join(repository, "signs/samples"), { recursive: true });
  await copyFile(join(demo, "samples/clean.npz"), join(repository, "signs/samples/clean.npz"));
  await copyFile(join(demo, "model.onnx"), join(repository, "signs/model.onnx"));
  const config = await readFile(join(demo, "model.yaml"), "utf8");
  await writeFile(join(repository, "signs/model.yaml"), config.replace("name: traffic-signs", "name: signs"));
}

/** A model of one node, enough for a compiler to refuse. */
function oneNode(opType: string, tensor: (writer: BinaryWriter) => void = () => {}): Uint8Array {
  const text = (writer: BinaryWriter, field: number, value: string) =>
    writer.tag(field, WireType.LengthDelimited).string(value);
  const value = (name: string) => (writer: BinaryWriter) => {
    text(writer, 1, name);
    writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.Varint).int32(1).tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int64(4).join();
    writer.join().join().join();
  };
  const writer = new BinaryWriter();
  const nested = (field: number, fill: (writer: BinaryWriter) => void) => {
    writer.tag(field, WireType.LengthDelimited).fork();
    fill(writer);
    writer.join();
  };
  writer.tag(1, WireType.Varint).int64(8);
  nested(7, () => {
    nested(1, (node) => text(text(text(node, 1, "x"), 2, "y"), 4, opType));
    text(writer, 2, "graph");
    tensor(writer);
    nested(11, value("x"));
    nested(12, value("y"));
  });
  nested(8, (opset) => text(opset, 1, "").tag(2, WireType.Varint).int64(17));
  return writer.finish();
}

describe("the onnxruntime compiler", () => {
  it("is available and says on what", () => {
    expect(status).toMatchObject({ available: true, version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(status?.device?.name).not.toBe("");
  });

  it("makes three distinct engines of one model; two builds of one request are equal", async (context) => {
    if (status?.precisions?.["int8"]?.available !== true) {
      context.skip(`int8 is not set up: ${status?.precisions?.["int8"]?.reason}`);
    }
    await withSamples();
    const all = await build({ builds: 2, check: true });
    expect(all.ids).toEqual(["onnxruntime-1", "onnxruntime-2"]);
    const basic = await build({ options: ["graphOptimizationLevel=basic"], check: true });
    const int8 = await build({ precision: "int8", check: true });
    expect([...basic.ids, ...int8.ids]).toEqual(["onnxruntime-3", "onnxruntime-int8-1"]);

    const [first, second] = all.manifests;
    expect(second?.fingerprint).toBe(first?.fingerprint);
    expect(second?.artifact.sha256).toBe(first?.artifact.sha256);
    const distinct = [first, ...basic.manifests, ...int8.manifests];
    expect(new Set(distinct.map((manifest) => manifest?.fingerprint)).size).toBe(3);
    expect(new Set(distinct.map((manifest) => manifest?.artifact.sha256)).size).toBe(3);
    expect(first).toMatchObject({
      compiler: { name: "onnxruntime" },
      target: expect.stringMatching(/^cpu /),
    });
    expect((await operators("onnxruntime-int8-1")).some((name) => name.includes("QLinearConv"))).toBe(true);

    // The first engine is judged against the unoptimised graph, later ones against the first.
    expect(all.checks[0]).toMatchObject({
      reference: "ONNX Runtime without optimisations",
      inputs: "samples",
      samples: 32,
    });
    expect(basic.checks[0]?.reference).toBe("onnxruntime-1");
    for (const check of [...all.checks, ...basic.checks]) {
      expect(check).toMatchObject({ flips: 0, diverged: 0, invalid: 0 });
      expect(check.maxAbs).toBeLessThan(1e-5);
    }
    expect(int8.checks[0]?.bitEqual).toBe(0);
    expect(int8.checks[0]?.maxAbs).toBeGreaterThan(1e-5);
    expect(int8.checks[0]?.flips).toBeLessThanOrEqual(1);
  });

  it.skipIf(!existsSync(slim))("takes initializers off the inputs (skipped without ../shared)", async () => {
    expect(readOnnx(await readFile(slim), slim).replaceable.length).toBeGreaterThan(0);
    const { checks, manifests } = await build({ onnx: slim, check: true });
    const written = readOnnx(await readFile(join(engineFolder("onnxruntime-1"), "model.onnx")), "artifact");
    expect(written.replaceable).toEqual([]);
    expect(written.inputs.map((input) => input.name)).toEqual(["input"]);
    // As constants they fold: batch normalisation goes into the convolutions.
    expect(written.nodes.length).toBeLessThan(manifests[0]?.notes?.["sourceNodes"] as number);
    expect(checks[0]).toMatchObject({ inputs: "generated", diverged: 0, invalid: 0 });
  });

  it("names an operator that it does not know, and leaves nothing behind", async () => {
    const onnx = join(directory, "foo.onnx");
    await writeFile(onnx, oneNode("Foo"));
    await expect(build({ onnx })).rejects.toThrow(
      /onnxruntime \S+ cannot compile this model: .*Foo.*; an operator/s,
    );
    expect(existsSync(repository)).toBe(false);
    await writeFile(onnx, oneNode("Relu"));
    expect((await build({ onnx, check: true })).checks[0]).toMatchObject({ bitEqual: 32 });
  });

  it("refuses weights in other files, which would not be where the engine goes", async () => {
    const onnx = join(directory, "external.onnx");
    const external = oneNode("Relu", (writer) => {
      writer.tag(5, WireType.LengthDelimited).fork().tag(8, WireType.LengthDelimited).string("w");
      writer.tag(13, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string("location");
      writer.tag(2, WireType.LengthDelimited).string("weights.bin").join().join();
    });
    await writeFile(onnx, external);
    await expect(build({ onnx })).rejects.toThrow("keeps weights in other files (weights.bin); merge them");
  });

  it("refuses a replay, and an engine that does not load here", async () => {
    const replay = join(directory, "log.json");
    await writeFile(replay, "{}");
    await expect(build({ replay })).rejects.toThrow("does not tune, so there is nothing to replay");
    const cuda = build({ options: ["executionProvider=tensorrt"], check: true });
    await expect(cuda).rejects.toThrow(/execution provider|cannot load it|TensorRT/i);
    expect(await readdir(repository).catch(() => [])).toEqual([]);
  });
});
