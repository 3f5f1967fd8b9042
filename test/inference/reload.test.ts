import { expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { createInference } from "../../src/inference/inference.ts";
import { openModels } from "../models/_models.ts";

async function open() {
  const scene = await openModels();
  const { models } = scene;
  const inference = createInference({
    models,
    limits: { concurrency: 8, queue: 8 },
    chooseCanary: () => undefined,
    onServed: () => {},
    onFailed: () => {},
    onUnanswered: () => {},
    onFailover: () => {},
    clock: systemClock,
    log: silentLog,
  });
  const infer = async (pinnedEngine?: string) => {
    await inference.describe("m");
    const { engine } = await inference.infer(models.get("m"), {
      id: "r",
      inputs: [],
      outputs: undefined,
      pinnedEngine,
      timeoutMs: undefined,
      receivedSeconds: 0,
    });
    return engine;
  };
  const active = () => models.get("m").active;
  return { ...scene, infer, active };
}

test("a cold start that a reload overtakes is answered by the new engine", async () => {
  const { infer, opened, start, reload, active } = await open();
  const asked = infer();
  await opened();
  const reloading = reload();
  await start();
  await reloading;
  expect(await asked).toBe(active());
});

test("a pinned engine that is replaced while it starts is started again as it is now", async () => {
  const { models, infer, opened, start, reload } = await open();
  const first = infer();
  await start();
  await first;
  const asked = infer("b");
  await opened();
  const reloading = reload();
  await start();
  await reloading;
  await start();
  expect(await asked).toBe(models.get("m").engine("b"));
});

test("a request whose host is lost while a reload waits for it moves to the new engine", async () => {
  const { infer, start, reload, active } = await open();
  const first = infer();
  const before = await start();
  await first;
  before.holds = true;
  const asked = infer();
  const old = active();
  const reloading = reload();
  await start();
  await expect.poll(active).not.toBe(old);
  before.lose();
  await reloading;
  expect(await asked).toBe(active());
});

test.each([
  ["active", undefined],
  ["pinned", "b"],
])("a cold start of the %s engine that the gateway's end overtakes is told so", async (_, pinned) => {
  const { models, infer, opened, start } = await open();
  if (pinned !== undefined) {
    const first = infer();
    await start();
    await first;
  }
  const asked = infer(pinned);
  await opened();
  const told = expect(asked).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("shutting down"),
  });
  await models.close();
  await told;
});

test("a cold start of a model that is removed meanwhile is told so", async () => {
  const { models, infer, folder, opened } = await open();
  const asked = infer();
  await opened();
  folder.removed = true;
  await expect(models.load("m")).rejects.toMatchObject({ code: "notFound" });
  await expect(asked).rejects.toMatchObject({ code: "notFound" });
});
