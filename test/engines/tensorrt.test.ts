import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const folder = fileURLToPath(new URL("tensorrt", import.meta.url));
const python = process.env["CROSSCHECK_TEST_PYTHON"] ?? "python3";
const version = spawnSync(python, ["-c", "import sys; print(sys.version_info >= (3, 11))"], {
  encoding: "utf8",
});
const reason =
  version.stdout?.trim() === "True" ? undefined : `${python} is not Python 3.11 or newer; install it`;

/** TensorRT and a GPU are not needed: a fake driver and a fake TensorRT stand in (test/engines/tensorrt/fake). */
describe("engines/tensorrt", () => {
  it.skipIf(reason).each(["test_pure.py", "test_programs.py"])(
    `passes %s${reason ? ` (${reason})` : ""}`,
    (file) => {
      const run = spawnSync(python, ["-m", "unittest", "-v", file], {
        cwd: folder,
        encoding: "utf8",
        timeout: 120_000,
      });
      expect(run.status, run.stderr).toBe(0);
      expect(run.stderr).toMatch(/^OK/m);
    },
    120_000,
  );

  it("describes its options so that every default is among what it allows", () => {
    const family = parse(
      readFileSync(new URL("../../engines/tensorrt/family.yaml", import.meta.url), "utf8"),
    );
    for (const option of Object.values<Record<string, unknown>>(family.compilers.tensorrt.options)) {
      expect(option["description"]).toBeTruthy();
      if (Array.isArray(option["values"])) expect(option["values"]).toContain(option["default"]);
      if (typeof option["min"] === "number") expect(option["default"]).toBeGreaterThanOrEqual(option["min"]);
    }
  });
});
