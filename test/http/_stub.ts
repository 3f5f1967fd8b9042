import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { createEventFeed } from "../../src/core/event-feed.ts";
import { GatewayError } from "../../src/core/errors.ts";
import { silentLog } from "../../src/core/log.ts";
import type { Tensor } from "../../src/core/tensor.ts";
import type { HttpServer, ListenConfig, ListenOptions } from "../../src/http/listen.ts";
import { listen } from "../../src/http/listen.ts";
import type { AnswerRecord, InferenceRequest, ModelSignature, Services } from "../../src/http/services.ts";

/** What the HTTP face is tested against: a model "copy" that returns its input, and one of every control service. */
const signature: ModelSignature = {
  inputs: [
    {
      name: "image",
      datatype: "FP32",
      shape: [-1, 3],
      bounds: [
        [1, 4],
        [3, 3],
      ],
    },
  ],
  outputs: [
    { name: "scores", datatype: "FP32", shape: [-1, 3] },
    { name: "count", datatype: "INT64", shape: [1] },
  ],
  labels: ["stop", "yield", "one way"],
};

export interface Stub {
  readonly services: Services;
  /** What infer was called with, newest last. */
  readonly requests: InferenceRequest[];
  readonly answered: AnswerRecord[];
  readonly calls: string[];
  readonly events: ReturnType<typeof createEventFeed>;
  /** Replaces the answer of the next infer calls. */
  behaviour: (request: InferenceRequest) => Promise<void>;
  ready: boolean;
  readonly loaded: Set<string>;
}

export function createStub(of: ModelSignature = signature): Stub {
  const requests: InferenceRequest[] = [];
  const answered: AnswerRecord[] = [];
  const calls: string[] = [];
  const events = createEventFeed();
  const loaded = new Set(["copy"]);
  let served = 0;
  const none = { count: 0, seconds: 0 };

  function known(model: string): void {
    if (model !== "copy") throw new GatewayError("notFound", `there is no model "${model}"`);
  }

  const stub: Stub = {
    requests,
    answered,
    calls,
    events,
    loaded,
    ready: true,
    behaviour: async () => {},
    services: {
      inference: {
        resolve(model) {
          known(model);
          if (!loaded.has(model))
            throw new GatewayError("notFound", `model "${model}" is unloaded; load it first`);
          return of;
        },
        async infer(_model, request) {
          requests.push(request);
          await stub.behaviour(request);
          served += 1;
          const [input] = request.inputs;
          if (!input) throw new Error("the stub needs an input");
          const outputs: Tensor[] = of.outputs.map((spec, index) =>
            index === 0
              ? { ...input, name: spec.name }
              : {
                  name: spec.name,
                  datatype: "INT64",
                  shape: [1],
                  data: new Uint8Array(BigInt64Array.of(BigInt(served)).buffer),
                },
          );
          const engine = request.pinnedEngine ?? "onnxruntime-1";
          return { engine, outputs, queueSeconds: 0.001, engineSeconds: 0.002 };
        },
        onAnswered: (record) => void answered.push(record),
      },
      models: {
        ready: () => ({ ready: stub.ready, reason: stub.ready ? undefined : "draining" }),
        modelReady(model) {
          known(model);
          return { ready: loaded.has(model), reason: "unloaded" };
        },
        describe(model) {
          known(model);
          return { ...of, name: model, compiler: "onnxruntime", instances: 1, device: "cpu" };
        },
        index: () => [
          loaded.has("copy")
            ? { name: "copy", state: "READY", reason: "" }
            : { name: "copy", state: "UNAVAILABLE", reason: "unloaded" },
        ],
        async load(model) {
          known(model);
          loaded.add(model);
        },
        async unload(model) {
          known(model);
          loaded.delete(model);
        },
        statistics(model) {
          if (model !== undefined) known(model);
          const timed = { count: served, seconds: served / 1000 };
          return [
            {
              name: "copy",
              lastInferenceMs: served === 0 ? 0 : 1_700_000_000_000,
              success: timed,
              fail: none,
              queue: timed,
              computeInput: timed,
              computeInfer: timed,
              computeOutput: timed,
            },
          ];
        },
      },
      engines: { list: (model) => ({ model, active: "onnxruntime-1", reference: null, engines: [] }) },
      switching: {
        async switch(model, engine, reason, actor) {
          if (engine === "none") throw new GatewayError("notFound", `model "${model}" has no engine "none"`);
          calls.push(`switch ${model} ${engine} ${reason} ${actor}`);
          return { model, from: "onnxruntime-1", to: engine, decision: { number: 1 } };
        },
        async rollback(model, reason, actor) {
          calls.push(`rollback ${model} ${reason} ${actor}`);
          return { model, from: "onnxruntime-2", to: "onnxruntime-1", decision: { number: 2 } };
        },
      },
      audit: {
        verdicts: (model) => ({ model, reference: null, candidates: [] }),
        report: (_model, format) => (format === "json" ? "{}" : `report in ${format}`),
      },
      feedback: {
        label(_model, id, label) {
          if (id === "forgotten") throw new GatewayError("notFound", "no longer remembered");
          calls.push(`feedback ${id} ${label}`);
        },
      },
      log: { read: (after, limit) => ({ entries: [{ after, limit }], next: after + 1 }) },
      events,
      metrics: {
        scrape: () => ({
          contentType: "text/plain; version=0.0.4",
          chunks: (async function* () {
            yield Buffer.from("up 1\n");
          })(),
        }),
      },
      page: {
        file(name) {
          const body = new TextEncoder().encode("<!doctype html><title>Crosscheck</title>");
          if (name !== "index.html") return undefined;
          return { contentType: "text/html; charset=utf-8", etag: '"1"', body, gzip: gzipSync(body) };
        },
      },
    },
  };
  return stub;
}

export function start(
  stub: Stub,
  config: Partial<ListenConfig> = {},
  options: Partial<ListenOptions> = {},
): Promise<HttpServer> {
  return listen(stub.services, {
    config: { host: "127.0.0.1", port: 0, access: {}, limits: { bodyBytes: 1_000_000 }, ...config },
    version: "0.0.0-test",
    log: silentLog,
    ...options,
  });
}

export function postJson(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

/** What comes back for bytes that no HTTP client would send. */
export async function rawExchange(port: number, bytes: string | Uint8Array): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => {});
  socket.write(bytes);
  await once(socket, "close");
  return Buffer.concat(chunks).toString("utf8");
}
