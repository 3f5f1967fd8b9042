import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { ensureSystemPackage } from "../../scripts/system-packages.mjs";
import { silentLog } from "../../src/core/log.ts";
import { listen, type HttpServer } from "../../src/http/listen.ts";
import { newFolder, openScene, writeModel, type Scene } from "../gateway/_gateway.ts";

/** The live page in the system's Chromium, in front of a whole gateway over scripted engines under light load. */
export const chromiumMissing: string | undefined = await ensureSystemPackage({
  package: "chromium",
  command: "chromium",
});

export interface Stage {
  readonly scene: Scene;
  readonly url: string;
  /** Ends the HTTP face alone; the gateway lives on. */
  hangUp(): Promise<void>;
  /** The same port again. */
  pickUp(): Promise<void>;
  /** @param options `events`: shown instead of the gateway's own, for what this machine does not have. */
  open(options?: BrowserContextOptions & { readonly events?: string }): Promise<View>;
  end(): Promise<void>;
}

export interface View {
  readonly page: Page;
  /** Errors on the console or thrown, violations of the policy, requests to other origins. */
  readonly problems: string[];
  /** Body bytes as transferred. */
  bytes(): number;
}

/** Two engines that agree and a third whose decisions flip. */
const engines = {
  "fast-1": {},
  "slow-1": { sleepMicroseconds: 900 },
  "odd-1": { fault: "wrongClass", rate: 0.5 },
};

export async function openStage(
  options: { write?: (folder: string) => Promise<void>; keys?: string } = {},
): Promise<Stage> {
  const folder = await newFolder();
  await writeModel(folder, "signs", engines, {
    reference: "fast-1",
    deadlineMs: 50,
    shadow: { maxUtilization: 1 },
    // Decisions are the tests' own: advice would come between them and what they look at.
    policy: { mode: "off" },
  });
  await options.write?.(folder);
  const keysFile = options.keys === undefined ? undefined : join(folder, "keys.yaml");
  if (keysFile !== undefined) await writeFile(keysFile, options.keys ?? "");
  const scene = await openScene(folder);
  let server = await face(0);
  const { port, url } = server;
  const traffic = setInterval(() => void scene.infer("signs").catch(() => undefined), 60);
  const browser: Browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });

  function face(on: number): Promise<HttpServer> {
    const config = { host: "127.0.0.1", port: on, access: { keysFile }, limits: { bodyBytes: 1e6 } };
    return listen(scene.services, { config, version: "test", log: silentLog });
  }

  return {
    scene,
    url,
    hangUp: () => server.close({ drainMs: 0 }),
    async pickUp() {
      server = await face(port);
    },
    async open({ events, ...context } = {}) {
      const page = await (await browser.newContext(context)).newPage();
      const problems: string[] = [];
      let bytes = 0;
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) problems.push(message.text());
      });
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("request", (request) => {
        if (!request.url().startsWith(url)) problems.push(`request to ${request.url()}`);
      });
      const wire = await page.context().newCDPSession(page);
      await wire.send("Network.enable");
      wire.on("Network.dataReceived", ({ encodedDataLength }) => void (bytes += encodedDataLength));
      await page.addInitScript(
        "document.addEventListener('securitypolicyviolation', (event) => console.error('policy: ' + event.violatedDirective))",
      );
      if (events !== undefined)
        await page.route("**/v1/events", (route) =>
          route.fulfill({ contentType: "text/event-stream", body: events }),
        );
      await page.goto(url);
      return { page, problems, bytes: () => bytes };
    },
    async end() {
      clearInterval(traffic);
      await browser.close();
      await server.close({ drainMs: 0 });
      await scene.end();
    },
  };
}

/** Once the page shows figures of a model. */
export async function shown(page: Page): Promise<void> {
  await page.locator("#engines tbody tr").first().waitFor();
}
