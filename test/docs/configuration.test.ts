import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { z } from "zod";
import { settings } from "../../src/config.ts";
import { modelSchema, ruleNames } from "../../src/models/manifest.ts";

const page = await readFile(new URL("../../docs/configuration.md", import.meta.url), "utf8");

test("every setting of crosscheck.yaml is on the page with its environment variable", () => {
  for (const { path, variable } of settings()) {
    expect(page).toContain(`\`${path.join(".")}\``);
    expect(page).toContain(`\`${variable}\``);
  }
});

test("every key of model.yaml is on the page", () => {
  for (const path of keys(z.toJSONSchema(modelSchema, { io: "input" }) as Node)) {
    const [group, key] = path;
    const told =
      page.includes(`\`${path.join(".")}\``) ||
      (key !== undefined && page.includes(`\`.${key}\``) && page.includes(`\`${group}.`));
    expect(told, path.join(".")).toBe(true);
  }
});

test("every rule is on the page", () => {
  for (const rule of ruleNames) expect(page).toContain(`\`${rule}\``);
});

interface Node {
  readonly properties?: Readonly<Record<string, Node>>;
}

/** Keys down to the second level; `canary.steps` is told as one. */
function keys(node: Node): string[][] {
  return Object.entries(node.properties ?? {}).flatMap(([key, inner]) =>
    inner.properties === undefined
      ? [[key]]
      : Object.entries(inner.properties)
          .filter(([, deeper]) => deeper.properties === undefined)
          .map(([second]) => [key, second]),
  );
}
