import { expect, test } from "vitest";
import { engineOf, modelOf, openAuditor, run, tensor } from "./_auditor.ts";

const reply = (engine: ReturnType<typeof engineOf>) => ({ id: "r", engine, outputs: [tensor(1, 2)] });

test("a candidate's pairs are those with the engine that is active now", async () => {
  const [a, b, c] = [engineOf("a"), engineOf("b"), engineOf("c")] as const;
  const model = modelOf([a, b, c], { reference: "a" });
  const { auditor, time } = openAuditor();
  const shadow = async (control: typeof a, count: number) => {
    for (let i = 0; i < count; i += 1) {
      time.seconds += 0.01;
      await auditor.shadowed(model, [run(control, "control"), run(c, "shadow")], reply(control));
    }
  };
  model.activate(a);
  await shadow(a, 20);
  expect(auditor.evidence(model, c).pairs).toMatchObject({ control: "sha-a", restarts: 0 });
  const flips = auditor.evidence(model, c).rates.flip.whole.n;
  expect(flips).toBeGreaterThan(0);

  // Before the first pair with the new one already: nothing may be decided by the pairs with the old one.
  model.activate(b);
  expect(auditor.evidence(model, c).pairs).toMatchObject({ control: "sha-b", restarts: 1 });
  expect(auditor.evidence(model, c).pairs.steady.whole.control.count).toBe(0);
  expect(auditor.evidence(model, c).rates.flip.whole.n).toBe(flips);

  // Runs that began before the switch and come in after it.
  await shadow(a, 20);
  expect(auditor.evidence(model, c).pairs.steady.whole.control.count).toBe(0);
  await shadow(b, 20);
  expect(auditor.evidence(model, c).pairs.steady.whole.control.count).toBeGreaterThan(10);
});

test("times are recorded under the role that a run had, whoever is active when they come in", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  const { auditor, exposed } = openAuditor();
  model.activate(b);
  await auditor.shadowed(model, [run(a, "control"), run(b, "shadow")], reply(a));
  expect(await exposed("shadow_runs_total")).toEqual([
    'crosscheck_shadow_runs_total{model="m",engine="a",role="control"} 1',
    'crosscheck_shadow_runs_total{model="m",engine="b",role="shadow"} 1',
  ]);
});

test("no answer where the reference gave one is a comparison, invalid; what the reference refuses too is none", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  model.activate(a);
  const { auditor, exposed } = openAuditor();
  const failed = { outputs: undefined, error: new Error("refused") };
  await auditor.shadowed(model, [run(a, "control"), run(b, "shadow", failed)], reply(a));
  await auditor.shadowed(model, [run(a, "control", failed), run(b, "shadow", failed)], reply(a));
  expect(await exposed("comparisons_total")).toEqual([
    'crosscheck_comparisons_total{model="m",reference="a",candidate="b",result="invalid"} 1',
  ]);
  expect(auditor.evidence(model, b).counts).toMatchObject({ errors: 1, invalid: 0 });
});

test("a comparison that fails is the caller's to count; times and errors are kept", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  model.activate(a);
  const { auditor } = openAuditor({ compare: () => Promise.reject(new Error("the comparing thread ended")) });
  await expect(auditor.shadowed(model, [run(a, "control"), run(b, "shadow")], reply(a))).rejects.toThrow(
    "the comparing thread ended",
  );
  expect(auditor.evidence(model, b).counts.pairs).toBe(1);
});
