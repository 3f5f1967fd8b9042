import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../src/core/package-root.ts";

test("a reader that goes away ends a command quietly", () => {
  // Its first write comes when nobody reads any more.
  const program = `import("./src/cli/main.ts").then(async ({ main }) => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    await main(["doctor", "onnxruntime"]);
    await new Promise((resolve) => setTimeout(resolve, 300));
  })`;
  const { stderr } = spawnSync("sh", ["-c", `"$0" --import tsx -e '${program}' | true`, process.execPath], {
    cwd: join(packageRoot()),
    encoding: "utf8",
  });
  expect(stderr).toBe("");
});
