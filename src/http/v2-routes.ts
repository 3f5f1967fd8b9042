import { z } from "zod";
import { GatewayError } from "../core/errors.ts";
import {
  modelConfig,
  modelMetadata,
  modelStatistics,
  repositoryIndex,
  serverMetadata,
} from "../protocol/bodies.ts";
import type { Route } from "./route.ts";
import { json } from "./route.ts";
import * as schemas from "./schemas.ts";
import type { Readiness, Services } from "./services.ts";

/** The Open Inference Protocol (V2) with Triton's model configuration, statistics and repository extensions. */
export function createV2Routes({ models }: Services, version: string): Route[] {
  const model = "/v2/models/:model[/versions/:version]";
  const asJson = (schema: z.ZodType): Route["reply"] => ({
    status: 200,
    contentType: "application/json",
    schema,
  });
  const shared = { tag: "models", role: "infer", service: undefined } as const;
  return [
    {
      ...shared,
      method: "get",
      path: "/v2",
      summary: "Server metadata",
      reply: asJson(schemas.serverMetadata),
      handle: () => json(serverMetadata(version)),
    },
    {
      ...shared,
      method: "get",
      path: "/v2/health/live",
      summary: "The process answers",
      role: undefined,
      reply: asJson(schemas.live),
      handle: () => json({ live: true }),
    },
    {
      ...shared,
      method: "get",
      path: "/v2/health/ready",
      summary: "Start-up loading has ended; 503 until then and while draining",
      role: undefined,
      reply: asJson(schemas.ready),
      handle: () => {
        const state = models.ready();
        return json({ live: true, ready: state.ready, ...whyNot(state, "gateway") }, statusOf(state));
      },
    },
    {
      ...shared,
      method: "get",
      path: "/v2/models/stats",
      summary: "Statistics of all models",
      reply: asJson(schemas.statistics),
      handle: () => json(modelStatistics(models.statistics())),
    },
    {
      ...shared,
      method: "get",
      path: model,
      summary: "Model metadata",
      reply: asJson(schemas.modelMetadata),
      handle: async (call) => json(modelMetadata(await models.describe(call.model))),
    },
    {
      ...shared,
      method: "get",
      path: `${model}/ready`,
      summary: "The model answers requests; 503 while it does not",
      reply: asJson(schemas.modelReady),
      handle: (call) => {
        const state = models.modelReady(call.model);
        return json(
          { name: call.model, ready: state.ready, ...whyNot(state, `model "${call.model}"`) },
          statusOf(state),
        );
      },
    },
    {
      ...shared,
      method: "get",
      path: `${model}/config`,
      summary: "Model configuration",
      reply: asJson(schemas.modelConfig),
      handle: async (call) => json(modelConfig(await models.describe(call.model))),
    },
    {
      ...shared,
      method: "get",
      path: `${model}/stats`,
      summary: "Statistics of one model",
      reply: asJson(schemas.statistics),
      handle: (call) => json(modelStatistics(models.statistics(call.model))),
    },
    {
      ...shared,
      tag: "inference",
      method: "post",
      path: `${model}/infer`,
      summary: "Inference; JSON, or JSON and binary tensors with Inference-Header-Content-Length",
      body: schemas.inferRequest,
      bodyType: "v2",
      reply: asJson(schemas.inferResponse),
    },
    {
      ...shared,
      method: "post",
      path: "/v2/repository/index",
      summary: "Every model of the repository with its state",
      body: schemas.indexRequest,
      bodyType: "v2",
      reply: asJson(schemas.index),
      handle: async (call) => {
        const { ready } = call.body as z.output<typeof schemas.indexRequest>;
        const entries = await models.index();
        return json(
          repositoryIndex(ready === true ? entries.filter(({ state }) => state === "READY") : entries),
        );
      },
    },
    {
      ...shared,
      method: "post",
      path: "/v2/repository/models/:model/load",
      summary: "Load a model, or load it again when its folder changed",
      role: "control",
      body: schemas.repositoryRequest,
      bodyType: "v2",
      reply: { status: 200, contentType: "application/json" },
      handle: async (call) => {
        refuseOverrides(call.model, call.body as z.output<typeof schemas.repositoryRequest>);
        await models.load(call.model);
        return json({});
      },
    },
    {
      ...shared,
      method: "post",
      path: "/v2/repository/models/:model/unload",
      summary: "Unload a model; not ready and 404 on infer until it is loaded again",
      role: "control",
      body: schemas.repositoryRequest,
      bodyType: "v2",
      reply: { status: 200, contentType: "application/json" },
      handle: async (call) => {
        await models.unload(call.model);
        return json({});
      },
    },
  ];
}

function statusOf(state: Readiness): number {
  return state.ready ? 200 : 503;
}

function whyNot(state: Readiness, what: string): object {
  return state.ready ? {} : { error: `${what} is not ready: ${state.reason ?? "still loading"}` };
}

/** Triton lets a client send a configuration and files with a load; here a model is what its folder says. */
function refuseOverrides(model: string, body: z.output<typeof schemas.repositoryRequest>): void {
  for (const name of Object.keys(body.parameters ?? {})) {
    if (name !== "config" && !name.startsWith("file:")) continue;
    throw new GatewayError(
      "invalid",
      `load of "${model}" with parameter "${name}" is refused; change the model's folder and load it again`,
    );
  }
}
