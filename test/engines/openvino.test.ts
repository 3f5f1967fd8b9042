import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildEngines, type BuildRequest } from "../../src/building/build-engines.ts";
import { createChecker, type EngineCheck } from "../../src/building/check-engine.ts";
import { type Families, readFamilies } from "../../src/building/families.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { packageRoot } from "../../src/core/package-root.ts";
import { parseYamlFile } from "../../src/core/yaml-file.ts";
import { engineSchema } from "../../src/models/manifest.ts";

const demo = join(packageRoot(), "models/traffic-signs/model.onnx");
const slim = join(packageRoot(), "../shared/data/ultraface/slim-320.onnx");
const missing = existsSync(join(packageRoot(), "engines/openvino/.venv/bin/python"))
  ? undefined
  : "not set up: npx crosscheck setup openvino";

let families: Families;
let root: string;

beforeAll(async () => {
  families = await readFamilies({ root: packageRoot(), environment: process.env });
  root = await mkdtemp(join(tmpdir(), "crosscheck-openvino-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function build(given: Partial<BuildRequest> = {}) {
  const repository = await mkdtemp(join(root, "models-"));
  const checks: EngineCheck[] = [];
  const checker = createChecker({ families, clock: systemClock, log: silentLog });
  const compiler = families.compiler("openvino");
  const request = {
    onnx: demo,
    model: "signs",
    repository,
    compiler,
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
        verify: async (engine, model) => void checks.push(await checker.check(engine, model)),
      },
    );
    const manifest = (id: string) =>
      parseYamlFile(join(repository, "signs/engines", id, "engine.yaml"), engineSchema);
    return { checks, manifests: await Promise.all(ids.map(manifest)) };
  } finally {
    await checker.close();
  }
}

describe.skipIf(missing !== undefined)(`OpenVINO (${missing ?? "the wheel"})`, () => {
  it("builds engines of one fingerprint that decide as the reference does", async () => {
    const { manifests, checks } = await build({ builds: 2 });
    expect(manifests[1]?.fingerprint).toBe(manifests[0]?.fingerprint);
    expect(checks.map(({ flips, invalid }) => flips + invalid)).toEqual([0, 0]);
    expect(checks[0]?.maxAbs).toBeLessThan(1e-5);
  });

  it.skipIf(!existsSync(slim))(
    "takes weights that are graph inputs for no inputs (skipped without ../shared)",
    async () => {
      const { checks } = await build({ onnx: slim });
      expect(checks[0]?.maxAbs).toBeLessThan(1e-3);
    },
  );

  it("refuses a shape that the model cannot have", async () => {
    await expect(build({ options: ["shape=picture:1x3x48x48"] })).rejects.toThrow(/the inputs are image/);
    await expect(build({ options: ["shape=image:1x3x50x7"] })).rejects.toThrow(/cannot take shape/);
  });
});
