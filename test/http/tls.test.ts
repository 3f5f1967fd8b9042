import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createStub, start } from "./_stub.ts";

let folder: string;
/** Of the system, not of this package: knip looks for literal names. */
const program = "openssl";
let openssl = true;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosscheck-tls-"));
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const options = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
  ];
  try {
    execFileSync(program, [...options, ...subject, "-keyout", "key.pem", "-out", "cert.pem"], {
      cwd: folder,
      stdio: "ignore",
    });
  } catch {
    openssl = false;
  }
});
afterAll(() => rm(folder, { recursive: true }));

describe("TLS", () => {
  it("serves HTTPS with the files given", async (context) => {
    if (!openssl) context.skip("openssl is not installed; it makes the test's certificate");
    const tls = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
    const server = await start(createStub(), { tls });
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    const ca = await readFile(tls.cert);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request({ host: "localhost", port: server.port, path: "/v2", ca, family: 4 }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on("error", reject)
        .end();
    });
    expect(status).toBe(200);
    await server.close();
  });

  it("names the files that cannot be used", async () => {
    const tls = { cert: join(folder, "none.pem"), key: join(folder, "none.pem") };
    await expect(start(createStub(), { tls })).rejects.toThrow(/tls\.cert: .*none\.pem cannot be read/);
    await writeFile(join(folder, "text.pem"), "no certificate");
    const text = { cert: join(folder, "text.pem"), key: join(folder, "text.pem") };
    await expect(start(createStub(), { tls: text })).rejects.toThrow(
      /tls: .*not a PEM certificate and its key/,
    );
  });
});
