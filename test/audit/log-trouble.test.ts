import { expect, test } from "vitest";
import type { DecisionLog } from "../../src/audit/log/decision-log.ts";
import type { Decision } from "../../src/audit/log/entry.ts";
import { watchLog } from "../../src/audit/log/log-trouble.ts";

test("a decision that cannot be written is trouble until one can", async () => {
  let full = true;
  const log = {
    append: () => (full ? Promise.reject(new Error("disk full; free disk space")) : Promise.resolve({})),
  } as unknown as DecisionLog;
  const clock = { seconds: () => 0, now: () => new Date("2026-01-01T00:00:00Z") };
  const watched = watchLog(log, { clock });
  const decision = {} as Decision;
  expect(watched.trouble).toBeUndefined();
  await expect(watched.append(decision)).rejects.toThrow("disk full");
  expect(watched.trouble).toBe("disk full; free disk space (tried last at 2026-01-01T00:00:00.000Z)");
  full = false;
  await watched.append(decision);
  expect(watched.trouble).toBeUndefined();
});
