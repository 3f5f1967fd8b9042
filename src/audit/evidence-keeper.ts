import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Log } from "../core/log.ts";
import type { Engine } from "../models/engine.ts";
import type { ModelConfig } from "../models/manifest.ts";
import type { Model } from "../models/model.ts";
import type { Store } from "../store/store.ts";
import { createEvidence, type Evidence, type EvidenceKey, type EvidenceSnapshot } from "./evidence.ts";

/**
 * The evidence on every engine, in memory and, every minute and at the end, in the store: a restart of the gateway
 * goes on where it was. Evidence belongs to an engine (two builds may have one digest, and are two engines), the digests
 * of reference and engine and the terms it is judged on (deadline, tolerance, blocks); when one of them changes, other
 * evidence takes its place. Its pairs belong to the
 * digest of the control as well, and begin anew by themselves.
 */
export interface EvidenceKeeper {
  of(model: Model, engine: Engine): Evidence;
  /** Reads what is stored on a model's engines; to be done before they serve. Never rejects. */
  restore(model: Model): Promise<void>;
  /** Begins anew for the same engine, which has its price: a smaller share of alpha. */
  restart(model: Model, engine: Engine): void;
  /** A model was reloaded: evidence on other engines or terms than it has now is let go of when there is much of it. */
  retain(model: Model): void;
  /** Lets go of a model's evidence in memory; what is stored stays. */
  forget(model: string): void;
  close(): Promise<void>;
}

/** Evidence weighs 250 kB; engines that come and go must not add up. Those that are there are not counted. */
const mostReplaced = 256;

export function createEvidenceKeeper(options: {
  readonly store: Pick<Store, "read" | "write">;
  /** Prefix of this repository's keys in the store. */
  readonly keyPrefix: string;
  readonly seed: () => number;
  readonly log: Log;
  readonly saveSeconds?: number;
}): EvidenceKeeper {
  const { store, keyPrefix, seed, log, saveSeconds = 60 } = options;
  const kept = new Map<string, Evidence>();
  /** Names of evidence that its model does not go by at present, the longest so first; it comes back with its terms. */
  const replaced = new Set<string>();
  /** How often evidence that is no longer in memory was begun. */
  const spent = new Map<string, Spent>();
  /** Size of each evidence when it was last written. */
  const written = new Map<string, string>();
  let saving: Promise<void> = Promise.resolve();

  function begin(name: string, model: Model, engine: Engine, from: Begin): Evidence {
    const { deadlineMs } = model.config;
    const evidence = createEvidence({
      key: keyOf(model, engine),
      deadlineSeconds: deadlineMs === undefined ? undefined : deadlineMs / 1000,
      seed: seed(),
      ...from,
    });
    kept.set(name, evidence);
    return evidence;
  }

  function letGo(name: string): void {
    const evidence = kept.get(name);
    if (evidence)
      spent.set(name, { restarts: evidence.restarts + 1, pairRestarts: evidence.pairs.restarts + 1 });
    kept.delete(name);
    replaced.delete(name);
  }

  async function restoreOne(name: string, model: Model, engine: Engine): Promise<void> {
    const document = await store.read(fileOf(name)).catch((error: unknown) => {
      log.warn({ model: model.name, engine: engine.id, err: error }, "evidence cannot be read");
      return { restarts: 0 };
    });
    if (document === undefined || kept.has(name)) return;
    const snapshot = document as EvidenceSnapshot;
    try {
      if (snapshot.schema === 3 && isDeepStrictEqual(snapshot.key, keyOf(model, engine))) {
        begin(name, model, engine, { snapshot });
        return;
      }
    } catch (error) {
      log.warn({ model: model.name, engine: engine.id, err: error }, "stored evidence is not understood");
    }
    // There was evidence once; what it spent of alpha cannot be spent again.
    const restarts = (snapshot.restarts ?? 0) + 1;
    begin(name, model, engine, { restarts, pairRestarts: (snapshot.pairs?.restarts ?? restarts - 1) + 1 });
  }

  async function save(): Promise<void> {
    for (const [name, evidence] of kept) {
      const size = sizeOf(evidence);
      if (written.get(name) === size) continue;
      try {
        await store.write(fileOf(name), evidence.snapshot());
        written.set(name, size);
      } catch (error) {
        log.warn({ model: evidence.key.model, err: error }, "evidence is not stored now");
      }
    }
  }

  function fileOf(name: string): string {
    return `${keyPrefix}evidence/${createHash("sha256").update(name).digest("hex").slice(0, 32)}`;
  }

  const timer = setInterval(() => (saving = saving.then(save)), saveSeconds * 1000);
  timer.unref();
  return {
    of(model, engine) {
      const name = nameOf(model, engine);
      return kept.get(name) ?? begin(name, model, engine, spent.get(name) ?? fresh);
    },
    async restore(model) {
      for (const engine of model.engines.values()) {
        const name = nameOf(model, engine);
        if (!kept.has(name)) await restoreOne(name, model, engine);
      }
    },
    restart(model, engine) {
      const name = nameOf(model, engine);
      letGo(name);
      begin(name, model, engine, spent.get(name) ?? fresh);
    },
    retain(model) {
      const present = new Set([...model.engines.values()].map((engine) => nameOf(model, engine)));
      for (const name of kept.keys()) {
        if (present.has(name)) replaced.delete(name);
        else if (name.startsWith(`${model.name}\0`)) replaced.add(name);
      }
      for (const name of replaced) {
        if (replaced.size <= mostReplaced) break;
        letGo(name);
      }
    },
    forget(model) {
      for (const name of kept.keys()) if (name.startsWith(`${model}\0`)) letGo(name);
    },
    async close() {
      clearInterval(timer);
      await (saving = saving.then(save));
    },
  };
}

interface Spent {
  readonly restarts: number;
  readonly pairRestarts: number;
}

const fresh: Spent = { restarts: 0, pairRestarts: 0 };

type Begin = { readonly snapshot: EvidenceSnapshot } | Spent;

function keyOf(model: Model, engine: Engine): EvidenceKey {
  return {
    model: model.name,
    engine: engine.id,
    referenceDigest: model.reference?.manifest.artifact.sha256 ?? "none",
    engineDigest: engine.manifest.artifact.sha256,
  };
}

const names = new WeakMap<Engine, { model: Model; reference: Engine | undefined; name: string }>();

/** Asked for several times with every request, so made once for an engine, until its model or the reference is another. */
function nameOf(model: Model, engine: Engine): string {
  const { reference } = model;
  let known = names.get(engine);
  if (known?.model !== model || known.reference !== reference) {
    const { referenceDigest, engineDigest } = keyOf(model, engine);
    const name = [model.name, engine.id, referenceDigest, engineDigest, termsOf(model.config)].join("\0");
    names.set(engine, (known = { model, reference, name }));
  }
  return known.name;
}

/** What counts as late, different and one block. */
function termsOf({ deadlineMs, tolerance, detection, task, policy }: ModelConfig): string {
  return JSON.stringify([deadlineMs, tolerance, detection, task, policy.blockMs]);
}

function sizeOf({ restarts, pairs: { control }, counts, device }: Evidence): string {
  const { pairs, comparisons, live, unanswered, errors } = counts;
  return [restarts, control, pairs, comparisons, live, unanswered, errors, device.samples].join();
}
