import { expect, test } from "vitest";
import { engineOf, modelOf, openAuditor, run, shadowed, tensor } from "./_auditor.ts";

const reply = (engine: ReturnType<typeof engineOf>) => ({ id: "r", engine, outputs: [tensor(1, 2)] });

/** An auditor with some evidence on a candidate. */
function openWithPairs() {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  model.activate(a);
  const { auditor, time } = openAuditor();
  for (let i = 0; i < 50; i += 1) {
    time.seconds += 0.01;
    shadowed(auditor, model, [run(a, "control"), run(b, "shadow")], reply(a));
  }
  return { auditor, model, b };
}

test("a candidate's pairs are those with the engine that is active now", async () => {
  const [a, b, c] = [engineOf("a"), engineOf("b"), engineOf("c")] as const;
  const model = modelOf([a, b, c], { reference: "a" });
  const { auditor, time } = openAuditor();
  const shadow = (control: typeof a, count: number) => {
    for (let i = 0; i < count; i += 1) {
      time.seconds += 0.01;
      shadowed(auditor, model, [run(control, "control"), run(c, "shadow")], reply(control));
    }
  };
  model.activate(a);
  shadow(a, 20);
  expect(auditor.evidence(model, c).pairs).toMatchObject({ control: "sha-a", restarts: 0 });
  const flips = auditor.evidence(model, c).rates.flip.whole.n;
  expect(flips).toBeGreaterThan(0);

  // Before the first pair with the new one already: nothing may be decided by the pairs with the old one.
  model.activate(b);
  expect(auditor.evidence(model, c).pairs).toMatchObject({ control: "sha-b", restarts: 1 });
  expect(auditor.evidence(model, c).pairs.steady.whole.control.count).toBe(0);
  expect(auditor.evidence(model, c).rates.flip.whole.n).toBe(flips);

  // Runs that began before the switch and come in after it.
  shadow(a, 20);
  expect(auditor.evidence(model, c).pairs.steady.whole.control.count).toBe(0);
  shadow(b, 30);
  expect(auditor.evidence(model, c).pairs.steady.whole.control.count).toBeGreaterThan(10);
});

test("times are recorded under the role that a run had, whoever is active when they come in", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  const { auditor, exposed } = openAuditor();
  model.activate(b);
  shadowed(auditor, model, [run(a, "control"), run(b, "shadow")], reply(a));
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
  shadowed(auditor, model, [run(a, "control"), run(b, "shadow", failed)], reply(a));
  shadowed(auditor, model, [run(a, "control", failed), run(b, "shadow", failed)], reply(a));
  expect(await exposed("comparisons_total")).toEqual([
    'crosscheck_comparisons_total{model="m",reference="a",candidate="b",result="invalid"} 1',
  ]);
  expect(auditor.evidence(model, b).counts).toMatchObject({ errors: 1, invalid: 0 });
});

test("without comparisons, times and errors are kept; comparisons with who is active no more are not", () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b]);
  model.activate(a);
  const { auditor } = openAuditor();
  auditor.ran(model, [run(a, "control"), run(b, "shadow")]);
  expect(auditor.evidence(model, b).counts.pairs).toBe(1);
  const difference = { result: "bit_equal", flip: false, outputs: [], kl: undefined } as const;
  auditor.compared(model, "r", { reference: b, candidate: a, difference });
  expect(auditor.divergence(model, b, a)).toBeUndefined();
  auditor.compared(model, "r", { reference: a, candidate: b, difference });
  expect(auditor.divergence(model, a, b)).toBeDefined();
});

test("divergence is shown while there is some in the window, and against the present reference only", async () => {
  const [a, b, c] = [engineOf("a"), engineOf("b"), engineOf("c")] as const;
  const model = modelOf([a, b, c], { policy: { blockMs: 1 } });
  model.activate(a);
  const { auditor, exposed, time } = openAuditor();
  const shadow = (control: typeof a) =>
    shadowed(
      auditor,
      model,
      [run(control, "control"), run(c, "shadow", { outputs: [tensor(1, 3)] })],
      reply(control),
    );
  shadow(a);
  auditor.publish(model, c);
  const shown = async () => [
    ...new Set((await exposed("divergence")).map((line) => /reference="(.)"/.exec(line)?.[1])),
  ];
  expect(await shown()).toEqual(["a"]);
  expect(await exposed("divergence")).toHaveLength(16);

  // Without a reference the active engine stands in for it.
  model.activate(b);
  auditor.publish(model, c);
  expect(await shown()).toEqual([]);
  shadow(b);
  auditor.publish(model, c);
  expect(await shown()).toEqual(["b"]);
  time.seconds += 400;
  auditor.publish(model, c);
  expect(await shown()).toEqual([]);
});

test("an engine is judged rule by rule, with pauses between, and the verdicts are the ones made at once", async () => {
  const { auditor, model, b } = openWithPairs();
  const atOnce = auditor.verdicts(model, b);
  let pauses = 0;
  const pause = () => {
    pauses += 1;
    return Promise.resolve();
  };
  expect(await auditor.judge(model, b, { due: () => true, pause })).toEqual(atOnce);
  expect(atOnce.length).toBeGreaterThan(5);
  expect(pauses).toBe(atOnce.length);
});

test("evidence that was begun anew while it was being judged leaves no verdicts on what is there now", async () => {
  const { auditor, model, b } = openWithPairs();
  const flips = (verdicts: readonly { rule: string; have: number }[]) =>
    verdicts.find(({ rule }) => rule === "flipRatio")?.have;
  const pause = () => {
    auditor.restart(model, b);
    return Promise.resolve();
  };
  expect(flips(await auditor.judge(model, b, { due: () => true, pause }))).toBeGreaterThan(0);
  expect(flips(auditor.lastVerdicts(model, b))).toBe(0);
});

test("verdicts of a moment ago do not take the place of newer ones", async () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  model.activate(a);
  const { auditor } = openAuditor();
  let newer: unknown;
  const pause = () => {
    newer ??= auditor.verdicts(model, b);
    return Promise.resolve();
  };
  await auditor.judge(model, b, { due: () => true, pause });
  expect(auditor.lastVerdicts(model, b)).toBe(newer);
});

test("what belongs to engines that a reload removed is let go", () => {
  const [a, b] = [engineOf("a"), engineOf("b")] as const;
  const model = modelOf([a, b], { reference: "a" });
  model.activate(a);
  const { auditor } = openAuditor();
  const runs = [run(a, "control"), run(b, "shadow")];
  shadowed(auditor, model, runs, reply(a));
  shadowed(auditor, model, runs, reply(b));
  expect(auditor.divergence(model, a, b)).toBeDefined();
  for (const engine of [a, b]) expect(auditor.noise(engine)).toBeDefined();

  auditor.retain(modelOf([a], { reference: "a" }));
  expect(auditor.divergence(model, a, b)).toBeUndefined();
  expect(auditor.noise(b)).toBeUndefined();
  expect(auditor.noise(a)).toBeDefined();
  auditor.forget("m");
  expect(auditor.noise(a)).toBeUndefined();
});
