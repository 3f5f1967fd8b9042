// Prints what src/devices reads on this machine as JSON lines, for replaying later:
//   node scripts/record-devices.mjs [--seconds 30] [--interval 0.5] > readings.jsonl
// Runs from dist when that is there (`npm run build`), else from source through tsx.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "30" }, interval: { type: "string", default: "0.5" } },
});
const built = new URL("../dist/src/devices/devices.js", import.meta.url);
if (!existsSync(built)) (await import("tsx/esm/api")).register();
const source = existsSync(built)
  ? new URL("../dist/src/", import.meta.url)
  : new URL("../src/", import.meta.url);
const extension = existsSync(built) ? "js" : "ts";
const { createDevices } = await import(new URL(`devices/devices.${extension}`, source).href);
const { systemClock } = await import(new URL(`core/clock.${extension}`, source).href);

const say = (fields, message) => process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
const log = { debug() {}, info: say, warn: say, error: say, child: () => log };
const intervalMs = Number(values.interval) * 1000;
const metrics = { set() {}, inc() {}, remove() {} };
const devices = createDevices({ clock: systemClock, log, metrics, intervalMs });

const end = performance.now() + Number(values.seconds) * 1000;
while (performance.now() < end) {
  await new Promise((resolve) => setTimeout(resolve, intervalMs));
  const readings = devices.latest().map(({ at: _, ...reading }) => reading);
  console.log(JSON.stringify({ time: new Date().toISOString(), readings, board: devices.board() }));
}
devices.close();
