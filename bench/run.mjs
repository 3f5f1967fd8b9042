// `npm run bench` lists the benches; `npm run bench -- NAME... [--quick] [--save]` runs them, one after another. What
// they print is Markdown; --save puts it into docs/results/bench.md, each bench in a section of its own.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { root, setup } from "../scripts/setup.mjs";

const benches = {
  serving: ["bench/serving.ts", "runtime, host pool, bare server and gateway side by side"],
  memory: ["bench/memory.ts", "resident memory over 200,000 requests"],
  start: ["bench/start.ts", "start to ready with three engines"],
  shadow: ["bench/shadow.ts", "what shadow runs do to live requests at half load"],
  overload: ["bench/overload.ts", "more clients than the queue holds, that ask again at once"],
  switch: ["bench/switch.ts", "1,000 switches under load"],
  "perf-analyzer": ["bench/perf-analyzer.mjs", "Triton's perf_analyzer against the gateway"],
  "host-hop": ["bench/host-hop.ts", "what the engine host adds to the engine"],
  http: ["bench/http.ts", "HTTP and protocol with an engine that answers at once"],
  compare: ["bench/compare.ts", "one comparison with every metric"],
  metrics: ["bench/metrics.ts", "recording, and a scrape of a large gateway"],
  scrape: ["bench/scrape.ts", "what scraping a large gateway does to requests"],
  watched: ["bench/watched.ts", "what the open page and scraping do to live requests"],
};

const names = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const unknown = names.filter((name) => !Object.hasOwn(benches, name));
if (names.length === 0 || unknown.length > 0) {
  for (const name of unknown) console.error(`there is no bench "${name}"`);
  console.log("npm run bench -- NAME... [--quick] [--save]\n");
  for (const [name, [, about]] of Object.entries(benches)) console.log(`  ${name.padEnd(14)} ${about}`);
  process.exit(unknown.length > 0 ? 2 : 0);
}

if (flags.includes("--save") && flags.some((flag) => flag.startsWith("--model="))) {
  console.error("--save writes the demo model's figures; leave it out with --model");
  process.exit(2);
}

await setup();
for (const name of names) {
  const text = `${machine()}\n\n${await output(benches[name][0])}`;
  if (flags.includes("--save")) save(name, text);
}

/** What the figures depend on; a busy machine is said to be one. */
function machine() {
  const [load = 0] = loadavg();
  const cores = cpus().length;
  const ort = JSON.parse(
    readFileSync(join(root, "node_modules/onnxruntime-node/package.json"), "utf8"),
  ).version;
  const line =
    `${new Date().toISOString().slice(0, 16)}Z, ${cores} cores of ${cpus()[0]?.model.trim()}, ` +
    `${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux load ${load.toFixed(1)} at the start, ` +
    `Node ${process.versions.node}, onnxruntime ${ort}.`;
  const busy =
    load > cores / 4 ? " **Other work ran on this machine: trust ratios only, and those little.**" : "";
  console.log(line + busy);
  return line + busy;
}

function output(file) {
  return new Promise((resolve) => {
    const loader = file.endsWith(".ts") ? ["--expose-gc", "--import", "tsx"] : [];
    const child = spawn(process.execPath, [...loader, join(root, file), ...flags], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (more) => {
      text += more;
      process.stdout.write(more);
    });
    child.on("close", (code) => {
      if (code !== 0) process.exit(code ?? 1);
      resolve(text.trim());
    });
  });
}

function save(name, text) {
  const file = join(root, "docs/results/bench.md");
  mkdirSync(dirname(file), { recursive: true });
  const known = existsSync(file)
    ? readFileSync(file, "utf8")
    : "# Benchmarks\nWritten by `npm run bench -- NAME --save`.\n";
  const section = `## ${name}\n${text}\n`;
  const pattern = new RegExp(`^## ${name}\\n[\\s\\S]*?(?=^## |(?![\\s\\S]))`, "m");
  writeFileSync(
    file,
    pattern.test(known) ? known.replace(pattern, () => `${section}\n`) : `${known}\n${section}`,
  );
}
