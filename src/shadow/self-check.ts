import type { Comparer } from "../compare/comparer.ts";
import type { Difference } from "../compare/difference.ts";
import type { Runner } from "../core/engine.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Engine } from "../models/engine.ts";
import { answersToEqualRows } from "../models/equal-rows.ts";
import type { Model } from "../models/model.ts";
import { generatedInput } from "../models/warm-up.ts";
import type { Store } from "../store/store.ts";

/**
 * What needs no reference: an engine must agree with itself. `twice`: the same input again and again; `instance`: on another
 * process; `restart`: as before the last restart; `rows`: equal rows of a batch give equal rows.
 */
export type SelfCheckName = "twice" | "instance" | "restart" | "rows";

export interface SelfCheck {
  readonly check: SelfCheckName;
  readonly passed: boolean;
  readonly bitEqual: boolean;
  readonly reason: string;
}

/** An engine that is of two minds shows it in a few runs. */
const repeats = 5;
/** Larger outputs are not kept for the check after a restart. */
const mostKeptBytes = 4 * 1024 * 1024;

/**
 * Runs every self-check that this engine allows, on its shadow instance and at idle priority. A check that cannot be
 * finished (its host was lost) takes nothing from what the others have found.
 */
export async function selfCheck(
  model: Model,
  engine: Engine,
  parts: {
    readonly comparer: Comparer;
    readonly store: Store;
    readonly keyPrefix: string;
    readonly log: Log;
  },
): Promise<SelfCheck[]> {
  const { comparer, store, keyPrefix, log } = parts;
  const shadow = await engine.shadow();
  const { info } = engine;
  if (!info) return [];
  const inputs = info.inputs.map(generatedInput);
  const { task, tolerance, detection } = model.config;
  const compare = async (check: SelfCheckName, one: readonly Tensor[], other: readonly Tensor[]) => {
    const [difference] = await comparer.compare([one, other], [[0, 1]], { task, tolerance, detection });
    return judge(check, difference as Difference);
  };
  const run = async (runner: Runner, with_ = inputs) => (await runner.infer({ inputs: with_ })).outputs;

  const first = await run(shadow);
  const checks: SelfCheck[] = [];
  const attempt = (check: SelfCheckName, work: () => Promise<void>) =>
    work().catch((error: unknown) => {
      log.warn(
        { model: model.name, engine: engine.id, check, err: error },
        "self-check could not be finished",
      );
    });

  await attempt("twice", async () => {
    for (let i = 0; i < repeats; i++) checks.push(await compare("twice", first, await run(shadow)));
  });
  await attempt("instance", async () => {
    if (engine.serving) checks.push(await compare("instance", first, await run(engine)));
  });
  await attempt("restart", async () => {
    const key = `${keyPrefix}self-check/${engine.manifest.artifact.sha256}`;
    const before = restored(await store.read(key).catch(() => undefined));
    if (before) checks.push(await compare("restart", before, first));
    else if (bytesOf(first) <= mostKeptBytes) await store.write(key, kept(first));
  });
  await attempt("rows", async () => {
    const agree = async (one: readonly Tensor[], other: readonly Tensor[]) =>
      (await compare("rows", one, other)).passed;
    const rows = await answersToEqualRows(inputs, info.inputs, (batch) => run(shadow, [...batch]), agree);
    const [head, ...others] = rows ?? [];
    for (const other of others) if (head) checks.push(await compare("rows", head, other));
  });
  return checks;
}

function judge(check: SelfCheckName, { result, flip, reason }: Difference): SelfCheck {
  const passed = (result === "bit_equal" || result === "within") && !flip;
  return {
    check,
    passed,
    bitEqual: result === "bit_equal",
    reason: reason || (flip ? "another decision" : ""),
  };
}

function bytesOf(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, { data }) => sum + data.byteLength, 0);
}

function kept(tensors: readonly Tensor[]): object {
  return {
    tensors: tensors.map((tensor) => ({ ...tensor, data: Buffer.from(tensor.data).toString("base64") })),
  };
}

function restored(document: unknown): Tensor[] | undefined {
  const tensors = (document as { tensors?: (Omit<Tensor, "data"> & { data: string })[] } | undefined)
    ?.tensors;
  return tensors?.map((tensor) => ({ ...tensor, data: Buffer.from(tensor.data, "base64") }));
}
