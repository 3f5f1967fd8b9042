import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import axe from "axe-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Locator, Page } from "playwright-core";
import { postJson } from "../http/_stub.ts";
import { chromiumMissing, openStage, shown, type Stage, type View } from "./_browser.ts";

const hostile = `<img src=x onerror="document.title='owned'">`;

let stage: Stage;
const text = (page: Page, selector: string): Locator => page.locator(selector);

async function switchTo(engine: string, reason: string): Promise<void> {
  const response = await postJson(`${stage.url}/v1/models/signs/switch`, { engine, reason });
  expect(response.status).toBe(200);
}

async function newestDecision(): Promise<object | undefined> {
  return (await stage.scene.decisions()).at(-1);
}

async function closePage({ page, problems }: View): Promise<void> {
  await page.context().close();
  expect(problems).toEqual([]);
}

test("its modules are sound by their JSDoc types", async () => {
  const project = fileURLToPath(new URL("../../src/page/assets", import.meta.url));
  const compiler = createRequire(import.meta.url).resolve("typescript/package.json");
  await promisify(execFile)(process.execPath, [join(compiler, "../bin/tsc"), "-p", project]);
});

describe.skipIf(chromiumMissing !== undefined)(
  `in Chromium${chromiumMissing ? `: ${chromiumMissing}` : ""}`,
  () => {
    beforeAll(async () => {
      stage = await openStage({
        async write(folder) {
          const broken = join(folder, "models/signs/engines/broken-1");
          await mkdir(broken, { recursive: true });
          await writeFile(join(broken, "engine.yaml"), JSON.stringify({ [hostile]: 1 }));
        },
      });
    });
    afterAll(() => stage?.end());
    beforeEach(async () => {
      if ((await stage.scene.active("signs")) !== "fast-1") await switchTo("fast-1", "as it was");
    });

    test("shows at once who serves, how well, the candidates beside it and the last decision", async () => {
      await switchTo("slow-1", "to see it");
      await switchTo("fast-1", "and back");
      const view = await stage.open();
      const { page } = view;
      await shown(page);
      await text(page, "#active").getByText("fast-1", { exact: true }).waitFor();
      expect(await text(page, "#health").textContent()).toMatch(/Healthy/);
      await page
        .locator("#candidates li", { hasText: "odd-1" })
        .getByText(/flips in/)
        .waitFor();
      await text(page, "#lastDecision").getByText("and back").waitFor();
      expect(await text(page, "#lastDecision").textContent()).toMatch(/slow-1 → fast-1.*[0-9a-f]{8}/);
      // Live, control and shadow runs, each with its percentiles in order.
      const rows = page.locator("#engines tbody tr");
      await rows.filter({ hasText: "control" }).first().waitFor();
      for (const row of await rows.filter({ hasNotText: "no runs" }).all()) {
        const [p50, p99, max] = await Promise.all(
          [".p50", ".p99", ".p100"].map(async (cell) => Number(await row.locator(cell).textContent())),
        );
        expect(p50).toBeGreaterThan(0);
        expect(p99).toBeGreaterThanOrEqual(p50 as number);
        expect(max).toBeGreaterThanOrEqual(p99 as number);
      }
      await page
        .locator("#verdicts")
        .getByText(/needs [\d,]+ more/)
        .first()
        .waitFor();
      // What a chart shows is said in words too.
      await page.getByRole("img", { name: /^Latency over time.*fast-1, live: .* now/ }).waitFor();
      await page.getByRole("img", { name: /^Divergence over time.*odd-1: / }).waitFor();
      await closePage(view);
    });

    test("is small, comes whole from the gateway, and keeps to its policy while events come in", async () => {
      const view = await stage.open();
      await shown(view.page);
      expect(view.bytes()).toBeLessThan(200_000);
      expect(view.bytes()).toBeGreaterThan(20_000);
      await view.page.waitForTimeout(2500);
      await closePage(view);
    });

    test("shows a switch by someone else within a second", async () => {
      const view = await stage.open();
      await shown(view.page);
      const waits: number[] = [];
      // The quickest of a few: other programs share this machine.
      for (const to of ["slow-1", "fast-1", "slow-1", "fast-1"]) {
        await switchTo(to, `now ${to}`);
        const began = performance.now();
        await text(view.page, "#active").getByText(to, { exact: true }).waitFor();
        await text(view.page, "#lastDecision").getByText(`now ${to}`).waitFor();
        await view.page.locator("#decisions tbody tr").first().getByText(`now ${to}`).waitFor();
        waits.push(performance.now() - began);
      }
      expect(Math.min(...waits)).toBeLessThan(1000);
      await closePage(view);
    });

    test("switches and rolls back with a reason, and shows the gateway's refusal", async () => {
      const view = await stage.open();
      const { page } = view;
      await shown(page);
      await page.getByRole("button", { name: "Switch to slow-1" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("button", { name: "Switch", exact: true }).click();
      // Without a reason nothing happens.
      await expect.poll(() => dialog.isVisible()).toBe(true);
      expect(await stage.scene.active("signs")).toBe("fast-1");
      await dialog.getByLabel(/Reason/).fill(`quieter ${hostile}`);
      await dialog.getByRole("button", { name: "Switch", exact: true }).click();
      await dialog.waitFor({ state: "hidden" });
      expect(await stage.scene.active("signs")).toBe("slow-1");
      expect(await newestDecision()).toMatchObject({
        type: "switch",
        to: "slow-1",
        reason: `quieter ${hostile}`,
      });
      await text(page, "#lastDecision").getByText(`quieter ${hostile}`).waitFor();

      await page.getByRole("button", { name: "Roll back…" }).click();
      await dialog.getByLabel(/Reason/).fill("not quieter");
      await dialog.getByRole("button", { name: "Roll back", exact: true }).click();
      await dialog.waitFor({ state: "hidden" });
      expect(await newestDecision()).toMatchObject({ type: "rollback", to: "fast-1", reason: "not quieter" });

      await page.getByRole("button", { name: "Switch to broken-1" }).click();
      await dialog.getByLabel(/Reason/).fill("let us see");
      await dialog.getByRole("button", { name: "Switch", exact: true }).click();
      await dialog
        .getByRole("alert")
        .getByText(/engine "broken-1".*cannot be used/)
        .waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
      expect(await stage.scene.active("signs")).toBe("fast-1");
      await page.context().close();
      // The browser itself reports the 409; everything else would be a fault.
      expect(view.problems.filter((problem) => !problem.includes("409"))).toEqual([]);
    });

    test("can be switched with the keyboard alone", async () => {
      const view = await stage.open();
      const { page } = view;
      await shown(page);
      await tabTo(page, "#switch");
      await page.keyboard.press("Enter");
      // The reason has the focus; one step back is the choice of the engine.
      await page.keyboard.press("Shift+Tab");
      await page.keyboard.type("slow");
      await page.keyboard.press("Tab");
      await page.keyboard.type("by keyboard");
      await tabTo(page, "#actDo");
      await page.keyboard.press("Enter");
      await text(page, "#active").getByText("slow-1", { exact: true }).waitFor();
      expect(await newestDecision()).toMatchObject({ type: "switch", to: "slow-1", reason: "by keyboard" });
      // Back where it began.
      await page.locator("#switch:focus").waitFor();
      await closePage(view);
    });

    test.each([
      ["light", 1280, "light"],
      ["dark", 1280, "dark"],
      ["on a phone", 375, "light"],
      ["on a phone in the dark", 375, "dark"],
    ] as const)("has nothing that axe objects to, %s", async (_name, width, colorScheme) => {
      const { page } = await stage.open({ viewport: { width, height: 800 }, colorScheme, bypassCSP: true });
      await shown(page);
      await page.locator("#verdicts table").first().waitFor();
      await page.evaluate(axe.source);
      expect(await violations(page)).toEqual([]);
      await page.locator("#switch").click();
      expect(await violations(page)).toEqual([]);
      await page.context().close();
    });

    test("fits a phone: nothing to scroll sideways", async () => {
      const view = await stage.open({ viewport: { width: 375, height: 812 } });
      await shown(view.page);
      await view.page.locator("#verdicts table").first().waitFor();
      expect(await view.page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(375);
      await closePage(view);
    });

    test("takes names and reasons for text, whatever they hold", async () => {
      await switchTo("slow-1", hostile);
      const view = await stage.open();
      const { page } = view;
      await shown(page);
      // The decision's reason, and that of an engine whose manifest has markup for a key.
      await text(page, "#lastDecision").getByText(hostile, { exact: true }).waitFor();
      await page.locator("#engines").getByText(hostile).first().waitFor();
      expect(await page.locator("img").count()).toBe(0);
      expect(await page.title()).not.toBe("owned");
      await closePage(view);
    });

    test("shows GPUs that throttle, a canary's share and what no number would settle", async () => {
      const { page } = await stage.open({ events: recorded });
      await shown(page);
      const gpu = page.getByRole("row", { name: /^0 NVIDIA H200/ });
      expect((await gpu.getByRole("cell").allTextContents()).slice(0, 7)).toEqual([
        "87.5 %",
        "12.0 GB of 150.8 GB",
        "412 W",
        "71 °C",
        "sm 1,980 MHz",
        "limit 700 W",
        "sw_thermal",
      ]);
      await page.getByText("Store: Redis is away: connection lost").waitFor();
      await page.getByText("say more of this machine than of the engines").waitFor();
      await page.locator("#candidates").getByText("canary, 5 % of requests").waitFor();
      const flips = (id: string) =>
        page.locator("#candidates li", { hasText: id }).locator(".against").textContent();
      expect(await flips("trt-2")).toMatch(/ · no flips in 12, bit-equal, 8 decisions not read$/);
      expect(await flips("trt-3")).toMatch(/ · decisions not read: set detection$/);
      await page.locator("#verdicts").getByText("cannot be settled at this value").waitFor();
      await page
        .locator("#divergence")
        .getByText(/Bit-equal/)
        .waitFor();
      await page.context().close();
    });

    test("says when the connection is lost, and catches up when it is back", async () => {
      const { page } = await stage.open();
      await shown(page);
      await stage.hangUp();
      await page.getByText(/Connection lost; trying again/).waitFor();
      await stage.scene.services.switching?.switch("signs", "slow-1", "while nobody looked", "test");
      await stage.pickUp();
      await page.getByText(/Connection lost; trying again/).waitFor({ state: "hidden" });
      await text(page, "#active").getByText("slow-1", { exact: true }).waitFor();
      await page.locator("#decisions").getByText("while nobody looked").waitFor();
      await page.context().close();
    });
  },
);

describe.skipIf(chromiumMissing !== undefined)("with keys", () => {
  const keys = { operator: "operator-0123456789abc", client: "client-0123456789abcdef" };
  let keyed: Stage;
  beforeAll(async () => {
    keyed = await openStage({
      keys: JSON.stringify({
        keys: [
          { name: "operator", key: keys.operator, roles: ["control"] },
          { name: "client", key: keys.client, roles: ["infer"] },
        ],
      }),
    });
  });
  afterAll(() => keyed?.end());

  async function signIn(page: Page, key: string): Promise<void> {
    await page.getByLabel(/API key/).fill(key);
    await page.getByRole("button", { name: "Sign in" }).click();
  }

  test("nothing shows without one, nor with one that may not control", async () => {
    const { page } = await keyed.open();
    await page.getByText("This gateway wants a key.").waitFor();
    expect(await page.locator("#content").isVisible()).toBe(false);
    await signIn(page, "no such key, certainly");
    await page.getByRole("alert").getByText("the key is not in the gateway's keys file").waitFor();
    await signIn(page, keys.client);
    await page.getByRole("alert").getByText('key "client" has roles infer; this needs control').waitFor();
    expect(await page.locator("#content").isVisible()).toBe(false);
    await page.context().close();
  });

  test("the right one opens it, its name stands in the log, and signing out closes it", async () => {
    const { page } = await keyed.open();
    await signIn(page, keys.operator);
    await shown(page);
    await page.getByRole("button", { name: "Switch to slow-1" }).click();
    await page
      .getByRole("dialog")
      .getByLabel(/Reason/)
      .fill("with a key");
    await page.getByRole("dialog").getByRole("button", { name: "Switch", exact: true }).click();
    await page.locator("#decisions").getByText("with a key").waitFor();
    expect((await keyed.scene.decisions()).at(-1)).toMatchObject({ to: "slow-1", actor: "operator" });
    // The session is a cookie: a reload needs no key.
    await page.reload();
    await shown(page);
    await page.getByRole("button", { name: "Sign out operator" }).click();
    await page.getByText("This gateway wants a key.").waitFor();
    await page.context().close();
  });
});

/** One second of a gateway on a GPU machine. */
const recorded = (() => {
  const engine = {
    state: "ready",
    reason: null,
    compiler: "tensorrt",
    precision: "fp16",
    artifactSha256: "",
  };
  const equal = { output: "scores", metric: "max_abs", p50: 0, p99: 0, worst: 0 };
  const some = { comparisons: 20, undecided: 8, flips: 0, bitEqual: 20 };
  const none = { comparisons: 20, undecided: 20, flips: 0, bitEqual: 3 };
  const event = (type: string, data: object): string => `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  const rule = { rule: "flipRatio", verdict: "inconclusive", value: 0.001, threshold: 0.001, lower: 0 };
  const evidence = { upper: 0.01, have: 50, need: null, alpha: 0.01, unit: "blocks", source: "comparison" };
  const verdicts = [{ ...rule, ...evidence, scope: "whole", reason: "no number of samples would settle it" }];
  return (
    event("verdict", { model: "signs", candidates: [{ engine: "trt-2", state: "canary", verdicts }] }) +
    event("metrics", {
      time: "2026-01-01T00:00:00.000Z",
      lastDecision: 0,
      storeTrouble: "Redis is away: connection lost",
      models: [
        {
          ...{
            model: "signs",
            active: "trt-1",
            reference: null,
            state: "ready",
            reason: null,
            deadlineMs: null,
          },
          ...{ policy: "automatic", limits: [], queueLength: 0, requests: { succeeded: 1, failed: 0 } },
          engines: [
            { ...engine, id: "trt-1", role: "active", share: 0.95 },
            { ...engine, id: "trt-2", role: "candidate", share: 0.05, divergence: [equal], counts: some },
            { ...engine, id: "trt-3", role: "candidate", counts: none, undecidedReason: "set detection" },
          ],
        },
      ],
      devices: [
        {
          ...{ device: "0", uuid: "GPU-1", name: "NVIDIA H200", driver: "570.1", powerMode: "limit 700 W" },
          ...{ utilizationRatio: 0.875, memoryUsedBytes: 12e9, memoryTotalBytes: 150.8e9, powerWatts: 412 },
          ...{ temperatureCelsius: 71, clocksHertz: { sm: 1.98e9 }, throttled: true },
          throttleReasons: { sw_thermal: true, idle: false },
        },
      ],
      board: { cpuThrottledRatio: 0.5, starved: true },
    })
  );
})();

async function tabTo(page: Page, selector: string): Promise<void> {
  for (let steps = 0; steps < 40; steps++) {
    if ((await page.locator(`${selector}:focus`).count()) === 1) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`${selector} is not reached with Tab`);
}

async function violations(page: Page): Promise<unknown> {
  return page.evaluate(
    "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' ')))",
  );
}
