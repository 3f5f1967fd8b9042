import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = join(root, "docker");
const dockerfiles = readdirSync(folder).filter((name) => name.endsWith(".Dockerfile"));
const hadolint = join(root, "test/.venv/bin/hadolint");
const noHadolint = existsSync(hadolint)
  ? undefined
  : "test/.venv has no hadolint; npm test installs test/requirements.txt";

/** Instructions with continued lines joined, comments left out. */
function instructionsOf(name: string): { instruction: string; rest: string }[] {
  return readFileSync(join(folder, name), "utf8")
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [instruction = "", ...rest] = line.split(" ");
      return { instruction, rest: rest.join(" ") };
    });
}

describe.each(dockerfiles)("%s", (name) => {
  const instructions = instructionsOf(name);
  const all = (wanted: string) => instructions.filter(({ instruction }) => instruction === wanted);

  test.skipIf(noHadolint)(`passes hadolint${noHadolint ? ` (${noHadolint})` : ""}`, () => {
    const run = spawnSync(hadolint, ["--config", join(folder, "hadolint.yaml"), join(folder, name)], {
      encoding: "utf8",
    });
    expect(run.stdout + run.stderr).toBe("");
    expect(run.status).toBe(0);
  });

  test("ends as a user that is not root, by number", () => {
    expect(all("USER").at(-1)?.rest).toBe("1000:1000");
  });

  test("copies what exists and the build context holds", () => {
    for (const { rest } of all("COPY")) {
      if (rest.startsWith("--from")) continue;
      for (const source of rest.split(" ").slice(0, -1)) {
        const files = source.includes("*") ? readdirSync(folder).filter((file) => file.endsWith(".mjs")) : [];
        expect(source.includes("*") ? files.length > 0 : existsSync(join(root, source)), source).toBe(true);
        expect(
          allowed.some((rule) => source === rule || source.startsWith(`${rule}/`)),
          source,
        ).toBe(true);
      }
    }
  });

  test("runs only steps that lie in docker/steps, beside the package manager", () => {
    for (const { rest } of all("RUN")) {
      if (rest.startsWith("apt-get update && apt-get install -y --no-install-recommends ")) continue;
      for (const command of rest.split(" && ")) {
        const [, step] = /^sh (?:\/app\/)?(docker\/steps\/[a-z-]+\.sh)( |$)/.exec(command) ?? [];
        expect(step && existsSync(join(root, step)), command).toBe(true);
      }
    }
  });
});

test.each(["gateway.Dockerfile", "jetson.Dockerfile"])("%s has a health check and serves", (name) => {
  const instructions = instructionsOf(name);
  const last = (wanted: string) => instructions.findLast(({ instruction }) => instruction === wanted)?.rest;
  expect(last("HEALTHCHECK")).toContain('CMD ["node", "/app/docker/healthcheck.mjs"]');
  expect(last("ENTRYPOINT")).toBe('["node", "/app/docker/crosscheck.mjs"]');
  expect(last("CMD")).toBe('["serve"]');
});

test("every step is plain shell", () => {
  for (const step of readdirSync(join(folder, "steps"))) {
    const run = spawnSync("sh", ["-n", join(folder, "steps", step)], { encoding: "utf8" });
    expect(run.stderr).toBe("");
    expect(readFileSync(join(folder, "steps", step), "utf8")).toContain("\nset -eu\n");
  }
});

/** What .dockerignore lets through. */
const allowed = readFileSync(join(root, ".dockerignore"), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("!"))
  .map((line) => line.slice(1));
