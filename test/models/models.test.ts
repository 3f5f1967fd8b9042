import { expect, test } from "vitest";
import { openModels } from "./_models.ts";

test("closing in the middle of a reload ends it, and closes the engines that it brings", async () => {
  const { models, opened, reload } = await openModels();
  const reloading = reload();
  const refused = expect(reloading).rejects.toThrow("shutting down");
  const pool = await opened();
  await models.close();
  await refused;
  expect(pool.closed).toBe(true);
});

test("what is asked for after closing starts no host", async () => {
  const { models, reload } = await openModels();
  await models.close();
  await expect(reload()).rejects.toThrow("shutting down");
  await expect(models.wake(models.get("m"))).rejects.toThrow("shutting down");
});

test("before the repository was read nothing is unknown, only not loaded yet", async () => {
  const { models } = await openModels({ starts: false });
  const loading = expect.objectContaining({ code: "unavailable", message: 'model "m" is loading' });
  expect(() => models.get("m")).toThrow(loading);
  const started = models.start();
  expect(() => models.get("m")).toThrow(loading);
  await started;
  expect(models.get("m").name).toBe("m");
  expect(() => models.get("n")).toThrow(expect.objectContaining({ code: "notFound" }));
  await models.close();
});
