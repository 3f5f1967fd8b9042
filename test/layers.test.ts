import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseSync } from "oxc-parser";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

/** From above to below; a file imports from its own layer and from those below. Folders of src, or files directly in it. */
const layers = [
  ["main.ts", "cli"],
  ["gateway.ts", "log.ts"],
  ["services.ts", "observer.ts", "live-events.ts", "device-state.ts"],
  ["config.ts"],
  ["http"],
  ["page"],
  ["protocol"],
  ["inference"],
  ["shadow"],
  ["switching"],
  ["audit"],
  ["building"],
  ["compare"],
  ["models"],
  ["hosting"],
  ["devices"],
  ["metrics"],
  ["tracing"],
  ["store"],
  ["core"],
];

/** What programs in engines/ may use of src: the host library, the vocabulary, and what reads models. */
const engineMayImport = /^src\/(hosting|core|models)\//;

interface Import {
  readonly from: string;
  readonly to: string;
}

function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !name.startsWith(".") && name !== "node_modules" && name !== "assets")
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return filesIn(path);
      return /\.(ts|mjs)$/.test(entry.name) ? [path] : [];
    });
}

/** Static, dynamic and re-exporting imports of files in this repository, types included. */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const { module, errors } = parseSync(file, text);
  expect(errors, file).toEqual([]);
  const named = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest }) => moduleRequest?.value ?? []),
    ),
    ...module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
      const [, name] = /^["'`](.*)["'`]$/.exec(text.slice(start, end)) ?? [];
      return name ?? [];
    }),
  ];
  return named
    .filter((name) => name.startsWith("."))
    .map((name) => ({ from: file, to: relative(root, resolve(root, dirname(file), name)) }));
}

function layerOf(path: string): number {
  const [, place = ""] = path.split("/");
  const layer = layers.findIndex((places) => places.includes(place));
  expect(layer, `${path} is in no layer; add it to test/layers.test.ts and to docs`).toBeGreaterThanOrEqual(
    0,
  );
  return layer;
}

const sources = filesIn("src").flatMap(importsOf);

test("imports in src point downwards", () => {
  const upwards = sources.filter(({ from, to }) => to.startsWith("src/") && layerOf(to) < layerOf(from));
  expect(upwards).toEqual([]);
});

test("src never imports engines, nor anything else outside it", () => {
  expect(sources.filter(({ to }) => !to.startsWith("src/"))).toEqual([]);
});

test("programs in engines use the host library, the vocabulary and the readers of models alone", () => {
  const foreign = filesIn("engines")
    .flatMap(importsOf)
    .filter(({ from, to }) => {
      const family = from.split("/").slice(0, 2).join("/");
      return !to.startsWith(`${family}/`) && !engineMayImport.test(to);
    });
  expect(foreign).toEqual([]);
});

test("only main, cli and gateway read settings' schema; only main and cli read the environment", () => {
  const readers = filesIn("src").filter((file) =>
    /\bprocess\.env\b/.test(readFileSync(join(root, file), "utf8")),
  );
  expect(readers.filter((file) => layerOf(file) > 0 && !programs.has(file))).toEqual([]);
  const configured = sources.filter(({ to }) => to === "src/config.ts").map(({ from }) => from);
  expect(configured.filter((file) => layerOf(file) > 1)).toEqual([]);
});

test("every layer exists, and the parser sees imports at all", () => {
  for (const place of layers.flat()) expect(existsSync(join(root, "src", place)), place).toBe(true);
  expect(sources).toContainEqual({ from: "src/main.ts", to: "src/cli/main.ts" });
  expect(sources).toContainEqual({ from: "src/tracing/open-tracing.ts", to: "src/tracing/tracing.ts" });
  expect(statSync(join(root, "src/core")).isDirectory()).toBe(true);
});

/** Child programs: their environment is what their parent gives them. */
const programs = new Set<string>([]);
