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
