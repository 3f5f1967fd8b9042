import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { packageRoot } from "../core/package-root.ts";

/** One file of the live page, ready to be sent. */
interface File {
  readonly contentType: string;
  readonly etag: string;
  readonly body: Uint8Array;
  readonly gzip: Uint8Array;
}

/** The live page: its own files (assets/, served as they are) and the chart library, read and compressed once. */
export function createPage(): { file(name: string): File | undefined } {
  // Not beside this module: the build carries TypeScript alone.
  const assets = join(packageRoot(), "src/page/assets");
  const files = new Map<string, File>();
  for (const name of readdirSync(assets)) add(name, join(assets, name));
  const { resolve } = createRequire(import.meta.url);
  for (const name of ["uPlot.iife.min.js", "uPlot.min.css"]) add(name, resolve(`uplot/dist/${name}`));

  function add(name: string, path: string): void {
    const contentType = contentTypes[extname(name)];
    if (contentType === undefined) return;
    const body = readFileSync(path);
    const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
    files.set(name, { contentType, etag, body, gzip: gzipSync(body, { level: 9 }) });
  }

  return { file: (name) => files.get(name) };
}

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};
