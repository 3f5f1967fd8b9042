import { makeThreadIdle } from "../core/idle-thread.ts";
import { openNvml } from "./nvml.ts";

/**
 * The process that talks to NVML: one JSON array of readings a line and interval on stdout. It ends with its stdin,
 * so it never outlives the gateway. Exit code 3: there is no usable NVML here; stderr says why.
 *
 * argv: interval in milliseconds, library path (optional).
 */
const [interval = "1000", library] = process.argv.slice(2);

// A reading takes the driver some 15 ms of processor time, which live requests must not wait for.
makeThreadIdle();
process.stdin.on("end", () => process.exit(0)).resume();
process.stdout.on("error", () => process.exit(0));
try {
  const nvml = openNvml(library);
  const print = (): void => {
    process.stdout.write(`${JSON.stringify(nvml.read())}\n`);
  };
  print();
  setInterval(print, Number(interval));
} catch (thrown) {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 3;
  process.stdin.destroy();
}
