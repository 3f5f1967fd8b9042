import { z } from "zod";
import { decidedClass } from "../compare/classification.ts";
import { GatewayError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import type { Store } from "../store/store.ts";
import { classesOf } from "./classes.ts";

/** How often an engine was right, where clients told the truth later. */
export interface LabelledAccuracy {
  readonly engine: string;
  readonly labelled: number;
  readonly correct: number;
}

/**
 * Remembers what was predicted for the latest requests until their labels come. Memory is bounded. The counts outlive
 * the gateway: like evidence they are stored every minute and at the end.
 */
export interface Feedback {
  /** Reads what was counted for a model's engines before. Never rejects. */
  restore(model: Model): Promise<void>;
  /** What an engine answered a client. Tasks other than classification have no labels. */
  answered(model: Model, id: string, engine: Engine, outputs: readonly Tensor[]): void;
  /** The class that an engine decided for in the shadow of a request; null where it decided for none, or for several. */
  predicted(model: Model, id: string, engine: Engine, predicted: number | null): void;
  /**
   * @throws GatewayError `notFound` when the id is no longer remembered, `invalid` for an unknown label, `conflict` when
   * the model's task has no labels.
   */
  label(model: Model, id: string, label: string | number): void;
  accuracy(model: Model): readonly LabelledAccuracy[];
  close(): Promise<void>;
}

const mostRemembered = 10_000;

const tallySchema = z.object({ labelled: z.int().nonnegative(), correct: z.int().nonnegative() });
/** By artifact digest. */
const savedSchema = z.record(z.string(), tallySchema);

type Tally = z.output<typeof tallySchema>;

export function createFeedback(options: {
  readonly store: Pick<Store, "read" | "write">;
  /** Prefix of this repository's keys in the store. */
  readonly keyPrefix: string;
  readonly log: Log;
  readonly saveSeconds?: number;
}): Feedback {
  const { store, keyPrefix, log, saveSeconds = 60 } = options;
  const recent = new RecentPredictions();
  const tallies = new Map<string, Tally>();
  /** Models with labels that are not stored yet. */
  const unsaved = new Map<string, Model>();
  let saving: Promise<void> = Promise.resolve();
  const tallyKey = (model: Model, engine: Engine) => `${model.name}\0${engine.manifest.artifact.sha256}`;

  function count(model: Model, engine: Engine, correct: boolean): void {
    const key = tallyKey(model, engine);
    const tally = tallies.get(key) ?? { labelled: 0, correct: 0 };
    tally.labelled++;
    if (correct) tally.correct++;
    tallies.set(key, tally);
    unsaved.set(model.name, model);
  }

  function remember(model: Model, id: string, engine: Engine, predicted: number | null): void {
    if (predicted !== null) recent.add(model.name, id, engine, predicted);
  }

  async function save(): Promise<void> {
    const models = [...unsaved.values()];
    unsaved.clear();
    for (const model of models) {
      // Of the engines there are: those that were rebuilt must not add up.
      const document = Object.fromEntries(
        [...model.engines.values()].flatMap((engine) => {
          const tally = tallies.get(tallyKey(model, engine));
          return tally ? [[engine.manifest.artifact.sha256, tally]] : [];
        }),
      );
      await store.write(storeKey(model), document).catch((error: unknown) => {
        log.warn({ model: model.name, err: error }, "labels counted are not stored now");
        unsaved.set(model.name, model);
      });
    }
  }

  function storeKey(model: Model): string {
    return `${keyPrefix}feedback/${model.name}`;
  }

  const timer = setInterval(() => (saving = saving.then(save)), saveSeconds * 1000);
  timer.unref();
  return {
    async restore(model) {
      try {
        const saved = savedSchema.parse((await store.read(storeKey(model))) ?? {});
        for (const [digest, tally] of Object.entries(saved)) {
          const key = `${model.name}\0${digest}`;
          if (!tallies.has(key)) tallies.set(key, tally);
        }
      } catch (error) {
        log.warn({ model: model.name, err: error }, "labels counted before cannot be read");
      }
    },
    answered(model, id, engine, outputs) {
      if (model.config.task !== "classification") return;
      // The scores are the model's first output, which a client need not have asked for.
      const name = engine.info?.outputs[0]?.name;
      const scores = outputs.find((output) => output.name === name);
      // Ids are the client's, who may use one again: what came of another request says nothing about this one.
      recent.forget(model.name, id);
      // A label is one class, so a request of several rows cannot be labelled.
      if (scores) remember(model, id, engine, decidedClass(scores));
    },
    predicted: remember,
    label(model, id, label) {
      const { task, labels } = model.config;
      if (task !== "classification")
        throw new GatewayError(
          "conflict",
          `model "${model.name}" takes no labels: they are of classes, and its task is ${task}; set task: classification in model.yaml if it does classify`,
        );
      const truth = typeof label === "number" ? label : (labels ?? []).indexOf(label);
      const classes = classesOf(model);
      if (!Number.isInteger(truth) || truth < 0 || truth >= classes)
        throw new GatewayError(
          "invalid",
          `label ${JSON.stringify(label)} is not one of model "${model.name}"; give a class number${classes === Infinity ? "" : ` from 0 to ${classes - 1}`} or one of ${labels?.join(", ") ?? "(model.yaml lists no labels)"}`,
        );
      // Taken, not read: a label that comes twice must not count twice.
      const found = recent.take(model.name, id);
      if (!found)
        throw new GatewayError(
          "notFound",
          `request "${id}" of model "${model.name}" is not remembered (the last ${mostRemembered} classified requests are, until they are labelled)`,
        );
      for (const { engine, predicted } of found) count(model, engine, predicted === truth);
    },
    accuracy: (model) =>
      [...model.engines.values()].flatMap((engine) => {
        const tally = tallies.get(tallyKey(model, engine));
        return tally ? [{ engine: engine.id, ...tally }] : [];
      }),
    async close() {
      clearInterval(timer);
      await (saving = saving.then(save));
    },
  };
}

interface Prediction {
  readonly engine: Engine;
  readonly predicted: number;
}

/** Of every place one prediction: the first column has what clients were answered, the others what came from shadow runs. */
interface Column {
  readonly engines: (Engine | undefined)[];
  readonly predicted: Float64Array;
}

/**
 * The latest requests with what each engine said, in a ring of columns: an object a request that lives for 10,000 more
 * would be copied by the collector twice, and make it stop the gateway for longer and more often.
 */
class RecentPredictions {
  /** Of every place the request's model and id; a key made of both would be two more objects a request. */
  readonly #models = Array.from<string | undefined>({ length: mostRemembered });
  readonly #ids = Array.from<string | undefined>({ length: mostRemembered });
  readonly #counts = new Uint32Array(mostRemembered);
  readonly #columns: Column[] = [];
  /** By model and id. */
  readonly #places = new Map<string, Map<string, number>>();
  #next = 0;

  add(model: string, id: string, engine: Engine, predicted: number): void {
    const place = this.#places.get(model)?.get(id) ?? this.#begin(model, id);
    const count = this.#counts[place] as number;
    let at = 0;
    while (at < count && this.#columns[at]?.engines[place] !== engine) at += 1;
    const column = (this.#columns[at] ??= {
      engines: Array.from<Engine | undefined>({ length: mostRemembered }),
      predicted: new Float64Array(mostRemembered),
    });
    column.engines[place] = engine;
    column.predicted[place] = predicted;
    this.#counts[place] = Math.max(count, at + 1);
  }

  /** What was predicted for the request, which is forgotten. */
  take(model: string, id: string): readonly Prediction[] | undefined {
    const place = this.#places.get(model)?.get(id);
    if (place === undefined) return undefined;
    this.#forget(place);
    return this.#columns.slice(0, this.#counts[place]).map(({ engines, predicted }) => ({
      engine: engines[place] as Engine,
      predicted: predicted[place] as number,
    }));
  }

  forget(model: string, id: string): void {
    const place = this.#places.get(model)?.get(id);
    if (place !== undefined) this.#forget(place);
  }

  #begin(model: string, id: string): number {
    const place = this.#next;
    this.#next = (place + 1) % mostRemembered;
    this.#forget(place);
    this.#models[place] = model;
    this.#ids[place] = id;
    this.#counts[place] = 0;
    let places = this.#places.get(model);
    if (!places) this.#places.set(model, (places = new Map()));
    places.set(id, place);
    return place;
  }

  #forget(place: number): void {
    const [model, id] = [this.#models[place], this.#ids[place]];
    this.#models[place] = undefined;
    this.#ids[place] = undefined;
    if (model === undefined || id === undefined) return;
    const places = this.#places.get(model);
    places?.delete(id);
    if (places?.size === 0) this.#places.delete(model);
  }
}
