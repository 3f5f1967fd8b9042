import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Families, readFamilies } from "../../src/building/families.ts";
import { inspectMachine } from "../../src/building/machine.ts";
import { probeCompilers } from "../../src/building/probe.ts";
import { ensureCompiler } from "../../src/building/setup.ts";
import { report } from "../../src/cli/doctor.ts";

/** One family per script; a script is JavaScript, run with `node -e`. */
async function familiesWith(probes: Record<string, string>, more = ""): Promise<Families> {
  const root = await mkdtemp(join(tmpdir(), "crosscheck-probe-"));
  for (const [name, script] of Object.entries(probes)) {
    await mkdir(join(root, "engines", name), { recursive: true });
    await writeFile(join(root, "engines", name, "probe.cjs"), script);
    const command = script === "missing" ? '["{family}/none"]' : '["{node}", "probe.cjs"]';
    await writeFile(
      join(root, "engines", name, "family.yaml"),
      `family: ${name}\ndescription: a test\ncompilers: { ${name}: {} }\nprobe: ${command}\n` +
        `compile: ["{node}"]\nhost: ["{node}"]\n${more}`,
    );
  }
  return readFamilies({ root, environment: { PATH: process.env["PATH"] } });
}

const says = (answer: object): string => `console.log(${JSON.stringify(JSON.stringify(answer))})`;

describe("probeCompilers", () => {
  it("asks all at once; one that hangs, breaks or lies costs only its own compilers", async () => {
    const families = await familiesWith({
      good: `console.log("chatter"); ${says({ compilers: { good: { available: true, version: "1" } } })}`,
      absent: says({
        compilers: { absent: { available: false, reason: "no runtime", remedy: "install it" } },
      }),
      bare: says({ compilers: { bare: { available: false, reason: "no runtime" } } }),
      hangs: "setInterval(() => {}, 1000)",
      throws: "console.error('no module named x'); process.exit(3)",
      garbage: says({ compilers: { garbage: { available: "perhaps" } } }),
      text: "console.log('hello')",
      silent: "",
      other: says({ compilers: { someone: { available: true } } }),
      missing: "missing",
    });
    const statuses = Object.fromEntries(await probeCompilers(families, { timeoutMs: 3000 }));
    expect(statuses["good"]).toEqual({ available: true, version: "1" });
    expect(statuses["absent"]).toEqual({ available: false, reason: "no runtime", remedy: "install it" });
    expect(statuses["bare"]?.remedy).toBe("see engines/bare/README.md");
    expect(statuses["hangs"]?.reason).toBe("its probe gave no answer within 3 s");
    expect(statuses["throws"]?.reason).toBe("its probe ended with 3: no module named x");
    expect(statuses["garbage"]?.reason).toContain("its probe's answer is not as engines/README.md says");
    expect(statuses["text"]?.reason).toContain("its probe's answer is not as engines/README.md says");
    expect(statuses["silent"]?.reason).toContain("it said nothing");
    expect(statuses["other"]?.reason).toContain("does not mention it");
    expect(statuses["missing"]?.reason).toMatch(/none is not there$/);
    for (const [name, status] of Object.entries(statuses)) expect(status.available).toBe(name === "good");
  });
});

describe("ensureCompiler", () => {
  const setup =
    "setup: [\"{node}\", \"-e\", \"require('fs').writeFileSync('done', ''); console.log('installing', process.argv[1])\"]\n";
  const probe = `const available = require("fs").existsSync("done");
    console.log(JSON.stringify({ compilers: { toy: { available, reason: "not installed" } } }))`;

  it("sets a compiler up that is not there, and does nothing when it is", async () => {
    const families = await familiesWith({ toy: probe }, setup);
    const lines: string[] = [];
    const onLine = (line: string): void => void lines.push(line);
    await ensureCompiler(families.compiler("toy"), "fp32", { onLine });
    expect(lines).toEqual(["toy is not set up (not installed); setting up", "installing toy"]);
    await ensureCompiler(families.compiler("toy"), "fp32", { onLine });
    expect(lines).toHaveLength(2);
  });

  it("says what is missing when setting up does not help or there is none", async () => {
    const onLine = (): void => {};
    const broken = await familiesWith({ toy: probe }, 'setup: ["{node}", "-e", "process.exit(1)"]\n');
    await expect(ensureCompiler(broken.compiler("toy"), "fp32", { onLine })).rejects.toThrow(
      /toy at fp32 cannot be built here: not installed; run `npx crosscheck setup toy`/,
    );
    const lacking = {
      compilers: {
        toy: {
          available: true,
          precisions: { int8: { available: false, reason: "no quantiser", remedy: "get one" } },
        },
      },
    };
    const families = await familiesWith({ toy: says(lacking) });
    await ensureCompiler(families.compiler("toy"), "fp32", { onLine });
    await expect(ensureCompiler(families.compiler("toy"), "int8", { onLine })).rejects.toThrow(
      "toy at int8 cannot be built here: no quantiser; get one",
    );
  });
});

describe("crosscheck doctor", () => {
  it("shows every thing of the machine and every compiler, and a remedy for each that is missing", async () => {
    const machine = await inspectMachine();
    expect(machine.find((fact) => fact.name === "Node")).toMatchObject({
      ok: true,
      detail: process.versions.node,
    });
    for (const fact of machine) expect(fact.remedy === undefined).toBe(fact.ok);
    const statuses = new Map([
      [
        "good",
        {
          available: true,
          version: "1.0",
          precisions: { int8: { available: false, reason: "no quantiser", remedy: "get one" } },
        },
      ],
      ["bad", { available: false, reason: "no runtime", remedy: "install it" }],
    ]);
    const missing = {
      name: "Maven",
      ok: false,
      detail: "not found",
      neededFor: "TVM",
      remedy: "install Maven",
    };
    const text = report([missing], statuses, [{ family: "odd", error: "family.yaml:1: unknown key" }]);
    expect(text).toMatch(/^no\s+Maven\s+not found\s+TVM$/m);
    expect(text).toMatch(/^yes\s+good\s+1\.0 \(not int8\)$/m);
    expect(text).toMatch(/^no\s+bad$/m);
    for (const line of [
      "- Maven: install Maven",
      "- good at int8: no quantiser; get one",
      "- bad: no runtime; install it",
      "- engines/odd: family.yaml:1: unknown key",
    ]) {
      expect(text).toContain(line);
    }
  });
});
