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
  const requests = new Map<string, Map<Engine, number>>();
  const tallies = new Map<string, { labelled: number; correct: number }>();
  const keyOf = (model: Model, id: string) => `${model.name}\0${id}`;
  const tallyKey = (model: Model, engine: Engine) => `${model.name}\0${engine.manifest.artifact.sha256}`;

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
      const key = keyOf(model, id);
      let predictions = requests.get(key);
      if (!predictions) {
        requests.set(key, (predictions = new Map()));
        if (requests.size > mostRemembered) requests.delete(requests.keys().next().value as string);
      }
      predictions.set(engine, predicted);
    },
    label(model, id, label) {
      const truth = typeof label === "number" ? label : (model.config.labels ?? []).indexOf(label);
      if (!Number.isInteger(truth) || truth < 0)
        throw new GatewayError(
          "invalid",
          `label ${JSON.stringify(label)} is not one of model "${model.name}"; give a class number or one of ${model.config.labels?.join(", ") ?? "(model.yaml lists no labels)"}`,
        );
      const predictions = requests.get(keyOf(model, id));
      if (!predictions)
        throw new GatewayError(
          "notFound",
          `request "${id}" of model "${model.name}" is not remembered (the last ${mostRemembered} classified requests are, until they are labelled)`,
        );
      // Once: a label that comes twice must not count twice.
      requests.delete(keyOf(model, id));
      for (const [engine, predicted] of predictions) {
        const key = tallyKey(model, engine);
        const tally = tallies.get(key) ?? { labelled: 0, correct: 0 };
        tally.labelled++;
        if (predicted === truth) tally.correct++;
        tallies.set(key, tally);
      }
    },
    accuracy: (model) =>
      [...model.engines.values()].flatMap((engine) => {
        const tally = tallies.get(tallyKey(model, engine));
        return tally ? [{ engine: engine.id, ...tally }] : [];
      }),
  };
}
