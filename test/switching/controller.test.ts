import { expect, test } from "vitest";
import type { Decision } from "../../src/audit/log/entry.ts";
import type { DecisionLog } from "../../src/audit/log/decision-log.ts";
import { systemClock } from "../../src/core/clock.ts";
import { silentLog } from "../../src/core/log.ts";
import { createTurns } from "../../src/core/turns.ts";
import { EngineRetiredError, type Engine } from "../../src/models/engine.ts";
import { type ModelConfig, policySchema } from "../../src/models/manifest.ts";
import { Model } from "../../src/models/model.ts";
import type { Store } from "../../src/store/store.ts";
import { createController } from "../../src/switching/controller.ts";

const engineOf = (id: string) => ({
  id,
  serving: true,
  canTakeOver: true,
  manifest: { artifact: { sha256: `digest-${id}` }, compiler: { name: "onnxruntime" }, precision: "fp32" },
  ready: (): Promise<void> => Promise.resolve(),
});

test("a canary that cannot be loaded again because the gateway ends is not held for it", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")];
  const policy = policySchema.parse({
    mode: "automatic",
    interval: 0.1,
    initialDelaySeconds: 0,
    minSamples: 1,
  });
  const model = new Model({
    name: "m",
    directory: "",
    config: { policy, reference: "a" } as ModelConfig,
    engines: new Map([a, b].map((engine) => [engine.id, engine as unknown as Engine])),
    broken: new Map(),
  });
  model.activate(a as unknown as Engine);
  model.state = "ready";
  const verdicts = () => [{ rule: "flipRatio", verdict: "pass", have: 100 } as const];
  const types: string[] = [];
  const errors: object[] = [];
  const controller = createController({
    models: { get: () => model, find: () => model, list: () => [model], wake: () => Promise.reject() },
    decisions: {
      append: (decision: Decision) => {
        types.push(decision.type);
        return Promise.resolve({ ...decision, time: new Date().toISOString() });
      },
    } as unknown as DecisionLog,
    store: { read: () => Promise.resolve(undefined), write: () => Promise.resolve() } as unknown as Store,
    keyPrefix: "",
    repository: "",
    evidence: {
      verdicts,
      judge: () => Promise.resolve(verdicts()),
      lastVerdicts: verdicts,
      restart: () => {},
    },
    turns: createTurns(),
    onSwitched: () => {},
    onChanged: () => {},
    random: () => 0,
    clock: systemClock,
    log: { ...silentLog, error: (fields) => void errors.push(fields) },
  });
  const look = () => controller.check().then(() => controller.stateOf("m", "b"));
  await expect.poll(look).toBe("canary");
  const before = [...types];
  Object.assign(b, { serving: false, ready: () => Promise.reject(new EngineRetiredError("b")) });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await look();
  await controller.close();
  expect(types).toEqual(before);
  expect(errors).toEqual([]);
});
