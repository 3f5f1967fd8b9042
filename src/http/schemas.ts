import { z } from "zod";
import { datatypes } from "../core/tensor.ts";

/** Bodies of the HTTP face, for checking requests and for OpenAPI. */
const datatype = z.enum(datatypes as readonly [string, ...string[]]);
const shape = z.array(z.int());
const parameters = z.record(z.string(), z.unknown());
const tensorMetadata = z.object({ name: z.string(), datatype, shape });

export const error = z.object({ error: z.string() });
export const serverMetadata = z.object({
  name: z.string(),
  version: z.string(),
  extensions: z.array(z.string()),
});
export const live = z.object({ live: z.boolean() });
export const ready = z.object({ live: z.boolean(), ready: z.boolean() });
export const modelReady = z.object({ name: z.string(), ready: z.boolean() });
export const modelMetadata = z.object({
  name: z.string(),
  versions: z.array(z.string()),
  platform: z.string(),
  inputs: z.array(tensorMetadata),
  outputs: z.array(tensorMetadata),
});
export const modelConfig = z.looseObject({
  name: z.string(),
  platform: z.string(),
  max_batch_size: z.int(),
  input: z.array(z.looseObject({ name: z.string(), data_type: z.string(), dims: shape })),
  output: z.array(z.looseObject({ name: z.string(), data_type: z.string(), dims: shape })),
});

const duration = z.object({ count: z.int(), ns: z.int() });
export const statistics = z.object({
  model_stats: z.array(
    z.looseObject({
      name: z.string(),
      version: z.string(),
      last_inference: z.int(),
      inference_count: z.int(),
      execution_count: z.int(),
      inference_stats: z.record(z.string(), duration),
    }),
  ),
});

export const inferRequest = z.object({
  id: z.string().optional(),
  parameters: z
    .looseObject({
      engine: z.string().optional().describe("Id of the engine that must answer; needs role control."),
      timeout: z.int().nonnegative().optional().describe("Hard limit in microseconds."),
      binary_data_output: z.boolean().optional(),
    })
    .optional(),
  inputs: z.array(
    z.object({
      name: z.string(),
      shape,
      datatype,
      parameters: z.looseObject({ binary_data_size: z.int().nonnegative().optional() }).optional(),
      data: z.array(z.unknown()).optional(),
    }),
  ),
  outputs: z
    .array(
      z.object({
        name: z.string(),
        parameters: z
          .looseObject({
            binary_data: z.boolean().optional(),
            classification: z.int().nonnegative().optional(),
          })
          .optional(),
      }),
    )
    .optional(),
});

export const inferResponse = z.object({
  id: z.string(),
  model_name: z.string(),
  model_version: z.string(),
  parameters: z.object({ engine: z.string() }),
  outputs: z.array(
    z.object({
      name: z.string(),
      datatype: z.string(),
      shape,
      parameters: parameters.optional(),
      data: z.array(z.unknown()).optional(),
    }),
  ),
});

export const indexRequest = z.looseObject({ ready: z.boolean().optional() });
export const index = z.array(
  z.object({ name: z.string(), version: z.string(), state: z.string(), reason: z.string() }),
);
export const repositoryRequest = z.looseObject({ parameters: parameters.optional() });

export const engines = z.object({
  model: z.string(),
  active: z.string(),
  reference: z.string().nullable(),
  engines: z.array(
    z.looseObject({
      id: z.string(),
      state: z.string(),
      reason: z.string().nullable(),
      role: z.string(),
      compiler: z.string(),
      precision: z.string(),
      artifactSha256: z.string(),
    }),
  ),
});

const nullableNumber = z.number().nullable();
export const audit = z.object({
  model: z.string(),
  reference: z.string().nullable(),
  candidates: z.array(
    z.looseObject({
      engine: z.string(),
      state: z.string(),
      verdicts: z.array(
        z.looseObject({
          rule: z.string(),
          verdict: z.enum(["pass", "fail", "inconclusive"]),
          value: nullableNumber,
          threshold: z.number(),
          lower: nullableNumber,
          upper: nullableNumber,
          have: z.number(),
          need: nullableNumber,
          alpha: z.number(),
        }),
      ),
    }),
  ),
});

const reason = z.string().trim().min(1).max(1000).describe("Goes into the decision log.");
export const switchRequest = z.strictObject({
  engine: z
    .string()
    .min(1)
    .describe(
      "Loaded first when it is not. The one that is active already may be named: that ends a canary and holds it against " +
        "automatic decisions for policy.cooldownSeconds, as every switch by hand does.",
    ),
  reason,
});
export const rollbackRequest = z.strictObject({ reason });
export const switchResult = z.object({
  model: z.string(),
  from: z.string(),
  to: z.string(),
  decision: z.unknown(),
});
export const feedbackRequest = z.strictObject({
  id: z.string().min(1),
  label: z.union([z.string(), z.int().nonnegative()]).describe("Class name, or its index."),
});
export const accepted = z.object({ accepted: z.literal(true) });
export const loginRequest = z.strictObject({ key: z.string().min(1) });
export const caller = z.object({ name: z.string(), roles: z.array(z.string()) });

export const reportQuery = z.object({ format: z.enum(["html", "md", "json"]).default("html") });
export const logQuery = z.object({
  after: z.coerce.number().int().nonnegative().default(0),
  limit: z.coerce.number().int().min(1).max(1000).default(1000),
});
export const log = z.object({ entries: z.array(z.unknown()), next: z.int() });
