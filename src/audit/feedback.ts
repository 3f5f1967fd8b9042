import { GatewayError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Engine } from "../models/engine.ts";
import type { Model } from "../models/model.ts";
import { topClass } from "./offline/top-class.ts";

/** How often an engine was right, where clients told the truth later. */
export interface LabelledAccuracy {
  readonly engine: string;
  readonly labelled: number;
  readonly correct: number;
}

/** Remembers what was predicted for the latest requests until their labels come. Memory is bounded. */
export interface Feedback {
  /** An engine's scores for a request, live or in the shadow. Tasks other than classification have no labels. */
  predicted(model: Model, id: string, engine: Engine, outputs: readonly Tensor[]): void;
  /** @throws GatewayError `notFound` when the id is no longer remembered, `invalid` for an unknown label. */
  label(model: Model, id: string, label: string | number): void;
  accuracy(model: Model): readonly LabelledAccuracy[];
}

const mostRemembered = 10_000;

export function createFeedback(): Feedback {
  const recent = new RecentPredictions();
  const tallies = new Map<string, { labelled: number; correct: number }>();
  const keyOf = (model: Model, id: string) => `${model.name}\0${id}`;
  const tallyKey = (model: Model, engine: Engine) => `${model.name}\0${engine.manifest.artifact.sha256}`;

  function count(model: Model, engine: Engine, correct: boolean): void {
    const key = tallyKey(model, engine);
    const tally = tallies.get(key) ?? { labelled: 0, correct: 0 };
    tally.labelled++;
    if (correct) tally.correct++;
    tallies.set(key, tally);
  }

  return {
    predicted(model, id, engine, outputs) {
      if (model.config.task !== "classification") return;
      // The scores are the model's first output, which a client need not have asked for.
      const name = engine.info?.outputs[0]?.name;
      const scores = outputs.find((output) => output.name === name);
      // A label is one class, so a request of several rows cannot be labelled.
      if (!scores || (scores.shape.length > 1 && scores.shape[0] !== 1)) return;
      const predicted = topClass([scores]);
      if (predicted === null) return;
      recent.add(keyOf(model, id), engine, predicted);
    },
    label(model, id, label) {
      const truth = typeof label === "number" ? label : (model.config.labels ?? []).indexOf(label);
      if (!Number.isInteger(truth) || truth < 0)
        throw new GatewayError(
          "invalid",
          `label ${JSON.stringify(label)} is not one of model "${model.name}"; give a class number or one of ${model.config.labels?.join(", ") ?? "(model.yaml lists no labels)"}`,
        );
      // Taken, not read: a label that comes twice must not count twice.
      const found = recent.take(keyOf(model, id));
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
  };
}

interface Prediction {
  readonly engine: Engine;
  predicted: number;
}

/** Of one request; `others` came from shadow runs. */
interface Place {
  key: string | undefined;
  engine: Engine;
  predicted: number;
  others: Prediction[];
}

/**
 * The latest requests with what each engine said. A ring whose places are used again: an object a request that
 * lives for 10,000 more would be copied by the collector twice and make it stop the gateway the more often.
 */
class RecentPredictions {
  readonly #places: Place[] = [];
  readonly #byKey = new Map<string, number>();
  #next = 0;

  add(key: string, engine: Engine, predicted: number): void {
    const at = this.#byKey.get(key);
    if (at === undefined) return this.#remember(key, engine, predicted);
    const place = this.#places[at] as Place;
    const earlier = place.engine === engine ? place : place.others.find((other) => other.engine === engine);
    if (earlier) earlier.predicted = predicted;
    else place.others.push({ engine, predicted });
  }

  /** What was predicted for the request, which is forgotten. */
  take(key: string): readonly Prediction[] | undefined {
    const at = this.#byKey.get(key);
    if (at === undefined) return undefined;
    const place = this.#places[at] as Place;
    this.#byKey.delete(key);
    place.key = undefined;
    return [{ engine: place.engine, predicted: place.predicted }, ...place.others];
  }

  #remember(key: string, engine: Engine, predicted: number): void {
    const at = this.#next;
    this.#next = (at + 1) % mostRemembered;
    const place = this.#places[at];
    if (place) {
      if (place.key !== undefined) this.#byKey.delete(place.key);
      place.key = key;
      place.engine = engine;
      place.predicted = predicted;
      if (place.others.length > 0) place.others = [];
    } else {
      this.#places.push({ key, engine, predicted, others: [] });
    }
    this.#byKey.set(key, at);
  }
}
