// `npm start`: sets up, builds every demo engine that this machine can host, then serves. `npm start -- ARGS` is
// `crosscheck serve ARGS`. What cannot be built is named with its remedy and costs only the engines that need it.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { root, runQuietly, say, setup } from "./setup.mjs";

const args = process.argv.slice(2);
await setup();
if (!args.includes("--help") && !args.includes("-h") && (await servesDemo())) await buildDemo();
const { main } = await import(pathToFileURL(join(root, "dist/src/main.js")).href);
await main(["serve", ...args]);

/** Other repositories are the user's own; the demo's engines are built only where the demo is served. */
async function servesDemo() {
  const flag = (name) => {
    const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
    return at < 0 ? undefined : args[at].includes("=") ? args[at].slice(name.length + 1) : args[at + 1];
  };
  const { loadConfig } = await import(pathToFileURL(join(root, "dist/src/config.js")).href);
  const config = await loadConfig({
    file: flag("--config"),
    environment: process.env,
    flags: { repository: flag("--repository") },
  }).catch(() => undefined); // serve itself tells what is wrong with the settings
  return config !== undefined && resolve(config.repository) === join(root, "models");
}

async function buildDemo() {
  const demo = JSON.parse(readFileSync(join(root, "scripts/demo-engines.json"), "utf8"));
  const missing = demo.engines.filter((engine) => !isBuilt(demo.model, engine.id));
  if (missing.length === 0) return;
  say(
    `building ${missing.length} demo engine(s) of ${demo.model}: ${missing.map(({ id }) => id).join(", ")}`,
  );
  const families = groupByFamily(missing);
  // Families are set up side by side (they wait for downloads); builds come one after another, as they measure.
  let turn = Promise.resolve();
  const results = await Promise.all(
    [...families].map(async ([family, engines]) => {
      const compilers = [
        ...new Set(engines.filter((engine) => engine.setup !== false).map(({ compiler }) => compiler)),
      ];
      const ready = compilers.length === 0 || (await setUpFamily(family, compilers));
      const mine = turn.then(async () => {
        const failed = [];
        for (const engine of engines) {
          if (!ready && engine.setup !== false) failed.push(engine.id);
          else if (!(await buildEngine(demo.model, engine))) failed.push(engine.id);
        }
        return failed;
      });
      turn = mine;
      return mine;
    }),
  );
  const failed = results.flat();
  if (failed.length > 0)
    say(
      `not built: ${failed.join(", ")}; the lines above say why, "npx crosscheck doctor" what to do. Serving the others.`,
    );
}

async function setUpFamily(family, compilers) {
  const code = await runQuietly([process.execPath, join(root, "bin/crosscheck.mjs"), "setup", ...compilers], {
    label: family,
  });
  if (code !== 0) say(`${family}: set-up failed, so these compilers are left out: ${compilers.join(", ")}`);
  return code === 0;
}

async function buildEngine(model, { id, compiler, precision, options = {}, replay }) {
  const began = performance.now();
  const code = await runQuietly(
    [
      ...[process.execPath, join(root, "bin/crosscheck.mjs"), "compile", `models/${model}/model.onnx`],
      ...["--model", model, "--compiler", compiler, "--repository", "models"],
      ...(precision ? ["--precision", precision] : []),
      ...Object.entries(options).flatMap(([key, value]) => ["--option", `${key}=${value}`]),
      ...(replay ? ["--replay", replay] : []),
    ],
    { label: id },
  );
  if (code === 0) say(`${id}: built in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  else say(`${id}: not built (exit code ${code})`);
  return code === 0;
}

function isBuilt(model, id) {
  try {
    readFileSync(join(root, "models", model, "engines", id, "engine.yaml"));
    return true;
  } catch {
    return false;
  }
}

function groupByFamily(engines) {
  const groups = new Map();
  for (const engine of engines) groups.set(engine.family, [...(groups.get(engine.family) ?? []), engine]);
  return groups;
}
