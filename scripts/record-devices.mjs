// Prints what src/devices reads on this machine as JSON lines, for replaying later:
//   node scripts/record-devices.mjs [--seconds 30] [--interval 0.5] > readings.jsonl
// Runs from source through tsx where both are there, else from dist (`npm run build`).
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "30" }, interval: { type: "string", default: "0.5" } },
});
const fromSource = ["../src/devices/devices.ts", "../node_modules/tsx"].every((path) =>
  existsSync(new URL(path, import.meta.url)),
);
if (fromSource) (await import("tsx/esm/api")).register();
const load = (module) =>
  import(new URL(fromSource ? `../src/${module}.ts` : `../dist/src/${module}.js`, import.meta.url).href);
const { createDevices } = await load("devices/devices");
const { systemClock } = await load("core/clock");

const say = (fields, message) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
const log = { debug() {}, info: say, warn: say, error: say, child: () => log };
const intervalMs = Number(values.interval) * 1000;
const metrics = { set() {}, inc() {}, remove() {} };
const devices = createDevices({ clock: systemClock, log, metrics, intervalMs });

const end = performance.now() + Number(values.seconds) * 1000;
while (performance.now() < end) {
  await new Promise((resolve) => setTimeout(resolve, intervalMs));
  const moment = { time: new Date().toISOString(), readings: devices.latest(), board: devices.board() };
  console.log(JSON.stringify(moment));
}
devices.close();
