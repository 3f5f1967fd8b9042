import { pathToFileURL } from "node:url";
import { HostLostError, type EngineInfo, type EngineRequest, type EngineResult } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { openArtifact } from "./artifact.ts";
import { encodeInferPayload } from "./descriptor.ts";
import { BadRequest, bindCall, OutputTooLarge, type BoundCall } from "./host-call.ts";
import { LoadFailed, type HostedEngine, type LoadJob } from "./hosted-engine.ts";
import { matchRequest } from "./job.ts";
import type { Pool, PoolOptions } from "./pool.ts";
import { enlargeSpace, outputSpace, type SlotLayout } from "./slot-layout.ts";
import { arrange, createSlot, type Slot } from "./slot.ts";

export interface InlineOptions extends Pick<
  PoolOptions,
  "label" | "artifact" | "manifest" | "directory" | "threads" | "clock"
> {
  /** Absolute path of the module that exports `load`, as a host program would give it to `serveEngine`. */
  readonly program: string;
}

/** Memory of one request, laid out like a slot of a host. */
interface Place {
  readonly slot: Slot;
  buffer: ArrayBuffer;
  bound: { readonly layout: SlotLayout; readonly call: BoundCall<unknown> } | undefined;
}

/**
 * An engine in this very process: no host, no hop, and no protection. While it runs nothing else does, a crash takes the
 * gateway along, a hang hangs it. For those who chose `isolation: inline`.
 */
export function createInlineRunner(options: InlineOptions): Pool {
  const { label, artifact, manifest, directory, threads, clock } = options;
  const name = `engine "${label.engine}" of model "${label.model}"`;
  const free: Place[] = [];
  let engine: HostedEngine<unknown> | undefined;
  let space: readonly number[] = [];
  let residentBytes = 0;
  let running = 0;
  let idle: (() => void) | undefined;
  let closed: Promise<void> | undefined;

  async function start(): Promise<EngineInfo> {
    const before = process.memoryUsage.rss();
    const file = await openArtifact(artifact.path, artifact.sha256);
    try {
      const module = (await import(pathToFileURL(options.program).href)) as {
        readonly load: (job: LoadJob) => Promise<HostedEngine<unknown>>;
      };
      engine = await module.load({
        manifest: manifest as Record<string, unknown>,
        artifact: `/proc/self/fd/${file.fd}`,
        directory,
        threads,
      });
    } catch (error) {
      const remedy = error instanceof LoadFailed && error.remedy !== "" ? `; ${error.remedy}` : "";
      throw new GatewayError("conflict", `${messageOf(error)}${remedy}`, { cause: error });
    } finally {
      await file.close();
    }
    space = outputSpace(engine.info);
    residentBytes = Math.max(0, process.memoryUsage.rss() - before);
    return engine.info;
  }

  async function infer(request: EngineRequest): Promise<EngineResult> {
    if (engine === undefined || closed !== undefined) {
      throw new HostLostError("unavailable", `${name} is not loaded`);
    }
    request.cancellation?.throwIfCancelled();
    const job = matchRequest(engine.info, request);
    const place = free.pop() ?? { slot: createSlot(0), buffer: new ArrayBuffer(0), bound: undefined };
    running += 1;
    try {
      return await run(engine, job, place);
    } catch (error) {
      place.bound = undefined;
      if (error instanceof GatewayError) throw error;
      if (error instanceof BadRequest) throw new GatewayError("invalid", error.message, { cause: error });
      throw new GatewayError("engineFailed", `the engine failed on this input: ${messageOf(error)}`, {
        cause: error,
      });
    } finally {
      free.push(place);
      running -= 1;
      if (running === 0) idle?.();
    }
  }

  async function run(
    { info, infer: runEngine }: HostedEngine<unknown>,
    job: ReturnType<typeof matchRequest>,
    place: Place,
  ): Promise<EngineResult> {
    for (;;) {
      const began = clock.seconds();
      const layout = arrange(place.slot, info, job, space);
      try {
        const call = bind(info, layout, place);
        const memory = new Uint8Array(place.buffer);
        for (const [index, { offset }] of layout.inputs.entries()) {
          memory.set((job.inputs[index] as Tensor).data, offset);
        }
        const ran = clock.seconds();
        const times = await runEngine(call);
        const engineSeconds = times === undefined ? clock.seconds() - ran : times.engineNanoseconds / 1e9;
        return {
          outputs: call.outputs.map(({ spec, shape, resize }) => {
            if (shape === undefined) throw new Error(`the engine left output "${spec.name}" without a shape`);
            const { buffer, byteOffset, byteLength } = resize(shape);
            const data = new Uint8Array(buffer, byteOffset, byteLength).slice();
            return { name: spec.name, datatype: spec.datatype, shape, data };
          }),
          engineSeconds,
          deviceSeconds: times?.deviceNanoseconds ? times.deviceNanoseconds / 1e9 : undefined,
          queueSeconds: 0,
          hostSeconds: clock.seconds() - began,
          instance: 0,
        };
      } catch (error) {
        if (!(error instanceof OutputTooLarge)) throw error;
        space = enlargeSpace(info, space, error.index, error.bytes);
      }
    }
  }

  function bind(info: EngineInfo, layout: SlotLayout, place: Place): BoundCall<unknown> {
    if (place.bound?.layout === layout) return place.bound.call;
    if (place.buffer.byteLength < layout.bytes) place.buffer = new ArrayBuffer(layout.bytes);
    const call = bindCall(info, place.buffer, 0, encodeInferPayload(layout));
    place.bound = { layout, call };
    return call;
  }

  async function close(): Promise<void> {
    if (running > 0) {
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
    }
    await engine?.close?.();
    free.length = 0;
  }

  return {
    start,
    infer,
    get healthy() {
      return engine !== undefined && closed === undefined ? 1 : 0;
    },
    pending: 0,
    failure: undefined,
    /** What loading added to the gateway, as far as its resident memory shows it. */
    residentBytes: () => (closed === undefined ? residentBytes : 0),
    processes: [],
    ping: async () => (engine?.ping === undefined ? [] : [{ ...engine.ping() }]),
    close: () => (closed ??= close()),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
