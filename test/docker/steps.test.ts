import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

/**
 * The steps of docker/gateway.Dockerfile in a temporary folder in place of an image: what is built there must serve on a
 * read-only file system, as a user that is not root. Only the download of packages is replaced by what is installed.
 */
const root = fileURLToPath(new URL("../..", import.meta.url));
const skipped = new Set([".venv", ".runtime", ".cache", "__pycache__"]);
let place: string;
let app: string;

beforeAll(() => {
  place = mkdtempSync(join(tmpdir(), "crosscheck-image-"));
  chmodSync(place, 0o755);
  app = join(place, "app");
  mkdirSync(join(app, "docker"), { recursive: true });
  for (const file of ["package.json", "package-lock.json", ".npmrc", "tsconfig.json", "tsconfig.build.json"])
    copyFileSync(join(root, file), join(app, file));
  for (const folder of ["src", "engines", "grafana", "docker/steps"])
    cpSync(join(root, folder), join(app, folder), {
      recursive: true,
      filter: (source) => !skipped.has(source.slice(source.lastIndexOf("/") + 1)),
    });
  for (const file of ["crosscheck.mjs", "healthcheck.mjs"])
    copyFileSync(join(root, "docker", file), join(app, "docker", file));
  // Hard links where they can be: the next steps remove files and write one only, which is therefore copied.
  const modules = join(root, "node_modules");
  if (spawnSync("cp", ["-al", modules, app]).status !== 0) {
    rmSync(join(app, "node_modules"), { recursive: true, force: true });
    expect(spawnSync("cp", ["-a", modules, app]).status).toBe(0);
  }
  const record = "node_modules/.package-lock.json";
  rmSync(join(app, record));
  copyFileSync(join(root, record), join(app, record));
});

afterAll(() => rmSync(place, { recursive: true, force: true }));

function step(name: string, environment: Record<string, string> = {}): void {
  const script = join(app, "docker/steps", name);
  const env = { ...process.env, ...environment };
  const { status, stdout, stderr } = spawnSync("sh", [script], { cwd: app, env, encoding: "utf8" });
  expect(status, `${stdout}${stderr}`).toBe(0);
}

const crosscheck = (...args: string[]) =>
  spawnSync(process.execPath, [join(app, "docker/crosscheck.mjs"), ...args], { encoding: "utf8" });

test(
  "build and trim leave a program that runs without the packages of the build",
  { timeout: 240_000 },
  () => {
    step("build.sh");
    step("trim.sh");
    expect(existsSync(join(app, "node_modules/typescript"))).toBe(false);
    expect(existsSync(join(app, "node_modules/hono"))).toBe(true);
    expect(existsSync(join(root, "node_modules/typescript"))).toBe(true);
    expect(existsSync(join(app, "node_modules/onnxruntime-node/bin/napi-v6/win32"))).toBe(false);
    expect(crosscheck("--version")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n/),
    });
    step("place.sh", { ROOT: join(place, "root") });
    expect(existsSync(join(place, "root/usr/local/bin/crosscheck"))).toBe(true);
  },
);

const noNamespace =
  process.getuid?.() === 0 && spawnSync("unshare", ["-m", "true"]).status === 0
    ? undefined
    : "mounting read-only needs root and its own mount namespace";

test.skipIf(noNamespace)(
  `serves on a read-only file system as another user; healthy, then gone by SIGTERM${noNamespace ? ` (${noNamespace})` : ""}`,
  { timeout: 120_000 },
  async () => {
    const models = join(place, "models");
    const demo = join(root, "models/traffic-signs");
    const compiled = crosscheck(
      ...["compile", join(demo, "model.onnx"), "--model", "traffic-signs"],
      ...["--compiler", "onnxruntime", "--repository", models],
    );
    expect(compiled.status, compiled.stderr).toBe(0);
    const store = join(place, "root/var/lib/crosscheck");
    chownSync(store, 1000, 1000);
    const port = await freePort();
    const env = {
      ...process.env,
      CROSSCHECK_PORT: String(port),
      CROSSCHECK_REPOSITORY: models,
      CROSSCHECK_STORE_PATH: store,
    };
    const script = join(place, "read-only.sh");
    writeFileSync(script, readOnly);
    const command = ["-m", "sh", script, app, store, process.execPath, join(app, "docker/crosscheck.mjs")];
    const child = spawn("unshare", [...command, "serve"], {
      env,
      cwd: "/",
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    try {
      await expect.poll(() => output, { timeout: 60_000 }).toContain("Ready after");
      expect(output).toContain("onnxruntime-1 is active");
      const health = () => spawnSync(process.execPath, [join(app, "docker/healthcheck.mjs")], { env }).status;
      expect(health()).toBe(0);
      const data = Array.from({ length: 3 * 48 * 48 }, () => 0.5);
      const reply = await fetch(`http://127.0.0.1:${port}/v2/models/traffic-signs/infer`, {
        method: "POST",
        body: JSON.stringify({ inputs: [{ name: "image", datatype: "FP32", shape: [1, 3, 48, 48], data }] }),
      });
      expect(reply.status).toBe(200);
      child.kill("SIGTERM");
      expect(await once(child, "close")).toEqual([0, null]);
      expect(health()).toBe(1);
    } finally {
      child.kill("SIGKILL");
    }
  },
);

/** Everything read-only but the store and /dev/shm, which is a mount of its own; then user 1000, as in the image. */
const readOnly = `set -eu
app=$1 store=$2
shift 2
mount --make-rprivate /
mount --bind "$store" "$store"
mount --bind "$app" "$app"
mount -o remount,bind,ro "$app"
mount -o remount,bind,ro /
if touch "$app/written" 2>/dev/null; then echo "the file system is writable"; exit 9; fi
exec setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs "$@"
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
