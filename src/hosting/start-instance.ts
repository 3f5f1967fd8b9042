import { HostLostError, type EngineInfo } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import { byteSize } from "../core/tensor.ts";
import { openArtifact } from "./artifact.ts";
import { parseEngineInfo } from "./engine-info.ts";
import { frameStatus, frameType } from "./frame.ts";
import { isStopped, openHostLink, type HostLink } from "./host-link.ts";
import type { LaunchOptions } from "./host-process.ts";
import { createInstance, type Instance, type InstanceOptions } from "./instance.ts";
import { createSharedFile } from "./shared-file.ts";
import { smallestShape } from "./slot-layout.ts";

export interface StartOptions extends LaunchOptions, Omit<InstanceOptions, "info" | "link" | "file"> {
  readonly artifact: { readonly path: string; readonly sha256: string };
  /** engine.yaml, as LOAD hands it to the host. */
  readonly manifest: object;
  /** Of the engine; absolute. */
  readonly directory: string;
  readonly sharedMemoryDirectory: string;
  readonly generation: number;
  readonly startTimeoutSeconds: number;
  readonly watchdogSeconds: () => number;
  /** Lets one run on zeros go ahead of the first real request. */
  readonly warm: boolean;
  /** Told before anything is laid out, so that the space of outputs is known. */
  readonly onInfo: (info: EngineInfo) => void;
  /** The host was lost after it had been started. */
  readonly onLoss: (error: HostLostError) => void;
  /** Gives up starting. */
  readonly signal: AbortSignal;
}

/**
 * Starts a host process, loads the engine in it and maps the shared memory.
 * @throws GatewayError when the engine cannot be loaded and trying again would not help;
 *   HostLostError when the host was killed, hung or broke the protocol on the way.
 */
export async function startInstance(options: StartOptions): Promise<Instance> {
  const { directory, generation, manifest, onLoss, seconds, signal, startTimeoutSeconds, threads } = options;
  const artifact = await openArtifact(options.artifact.path, options.artifact.sha256);
  let file: ReturnType<typeof createSharedFile>;
  try {
    file = createSharedFile(options.sharedMemoryDirectory);
  } catch (error) {
    await artifact.close();
    throw error;
  }
  let started = false;
  let lost: (error: HostLostError) => void = () => {};
  const loss = new Promise<never>((_, reject) => {
    lost = reject;
  });
  loss.catch(() => {});
  const link = openHostLink({
    ...options,
    files: { memory: file.descriptor, artifact: artifact.fd },
    generation,
    seconds,
    limitSeconds: () => (started ? options.watchdogSeconds() : startTimeoutSeconds),
    onLoss: (error) => (started ? onLoss(error) : lost(error)),
  });
  // The process has its own descriptor of it since it was spawned.
  await artifact.close();

  const stopped = watchStopped(link);
  const abort = () => void link.lose("unavailable", "is not wanted any more");
  signal.addEventListener("abort", abort, { once: true });
  try {
    if (signal.aborted) abort();
    const info = await load(link, { manifest, artifact: "/proc/self/fd/5", directory, threads, generation });
    options.onInfo(info);
    const instance = createInstance({ ...options, info, link, file });
    if (options.warm) await Promise.race([runOnZeros(instance, info, seconds()), loss]);
    else await instance.prepare(info.inputs.map(smallestShape));
    started = true;
    return instance;
  } catch (error) {
    void link.end().finally(() => file.close());
    if (error instanceof HostLostError && link.exitCode !== undefined) {
      throw new GatewayError("conflict", error.message, { cause: error });
    }
    throw error;
  } finally {
    clearInterval(stopped);
    signal.removeEventListener("abort", abort);
  }
}

async function load(link: HostLink, fields: object): Promise<EngineInfo> {
  const { status, payload } = await link.request(frameType.load, fields);
  try {
    if (status === frameStatus.ok) return parseEngineInfo(payload);
    if (status !== frameStatus.loadFailed) throw new Error(`status ${status}`);
    const { error, remedy } = JSON.parse(payload.toString()) as { error: unknown; remedy: unknown };
    const helps = typeof remedy === "string" && remedy !== "" ? `; ${remedy}` : "";
    throw new GatewayError("conflict", `${String(error)}${helps}`);
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw link.lose(
      "garbage",
      `answered LOAD with ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** A host that a signal has stopped while it loads would be waited for until the start times out. */
function watchStopped(link: HostLink): NodeJS.Timeout {
  let seen = 0;
  return setInterval(() => {
    seen = link.pid !== undefined && isStopped(link.pid) ? seen + 1 : 0;
    if (seen === 2) link.lose("hung", "was stopped by a signal while it loaded");
  }, 250).unref();
}

/** The first run of an engine is slow; a client's request shall not be it. What comes out does not matter. */
function runOnZeros(instance: Instance, info: EngineInfo, enqueuedSeconds: number): Promise<void> {
  return new Promise((resolve) => {
    instance.run({
      inputs: info.inputs.map((spec) => {
        const shape = smallestShape(spec);
        const { name, datatype } = spec;
        return { name, datatype, shape, data: new Uint8Array(byteSize(datatype, shape)) };
      }),
      outputs: info.outputs.map((_, index) => index),
      enqueuedSeconds,
      patient: false,
      settled: false,
      resolve: () => resolve(),
      reject: () => resolve(),
    });
  });
}
