/** probe.mjs PYTHON: prints what OpenVINO can do here, one line of JSON. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const [python] = process.argv.slice(2);
const code = `
import json, openvino
core = openvino.Core()
print(json.dumps({"version": openvino.__version__.split("-")[0], "name": core.get_property("CPU", "FULL_DEVICE_NAME")}))`;

console.log(JSON.stringify({ compilers: { openvino: probe() } }));

function probe() {
  const remedy = "run npx crosscheck setup openvino";
  if (!existsSync(python)) return { available: false, reason: "OpenVINO is not set up", remedy };
  const { status, stdout, stderr } = spawnSync(python, ["-c", code], { encoding: "utf8", timeout: 18_000 });
  if (status !== 0) {
    return {
      available: false,
      reason: `OpenVINO cannot be used: ${stderr?.trim().split("\n").at(-1)}`,
      remedy,
    };
  }
  const { version, name } = JSON.parse(stdout.trim().split("\n").at(-1));
  return { available: true, version, device: { kind: "cpu", name: name.trim() } };
}
