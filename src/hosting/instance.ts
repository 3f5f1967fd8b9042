import { HostLostError, type EngineInfo } from "../core/engine.ts";
import { GatewayError } from "../core/errors.ts";
import type { Tensor } from "../core/tensor.ts";
import { readOutputs } from "./answer.ts";
import { alignTensor } from "./descriptor.ts";
import { frameStatus, frameType, type FrameHead } from "./frame.ts";
import type { HostLink } from "./host-link.ts";
import type { Job } from "./job.ts";
import { residentBytesOf } from "./resident-bytes.ts";
import type { SharedFile } from "./shared-file.ts";
import { layOut, type SlotLayout } from "./slot-layout.ts";
import { arrange, createSlot, frameOf, type Slot } from "./slot.ts";

/** One loaded host process that works off jobs, in two slots of shared memory. */
export interface Instance {
  readonly pid: number | undefined;
  /** Jobs it holds: the one that runs and the one that waits written. */
  readonly inFlight: number;
  /** Whether `run` may be called with this job now. */
  canTake(job: Job): boolean;
  /** Maps memory for inputs of these shapes, so that the first job need not. Rejects with HostLostError. */
  prepare(inputShapes: readonly (readonly number[])[]): Promise<void>;
  run(job: Job): void;
  /** Answers PING's fields. Rejects with HostLostError. */
  ping(): Promise<Readonly<Record<string, unknown>>>;
  /** From the kernel's books; 0 when the process is gone. */
  residentBytes(): number;
  /** Takes the jobs away, when the host is lost: the one that ran, and the one that never did. */
  abandon(): { readonly running: Job | undefined; readonly waiting: readonly Job[] };
  end(): Promise<void>;
}

export interface InstanceOptions {
  /** Stable number of its place in the pool. */
  readonly index: number;
  readonly info: EngineInfo;
  readonly link: HostLink;
  readonly file: SharedFile;
  readonly seconds: () => number;
  /** Space of each of the engine's outputs, as learned by the whole pool; a new list when it changes. */
  readonly space: () => readonly number[];
  /** An output needs more. @throws GatewayError when that is too much */
  readonly enlarge: (output: number, bytes: number) => void;
  /** A job was answered: its `hostSeconds`, if it ran, feed the watchdog, and there is room for the next. */
  readonly onAnswered: (hostSeconds: number | undefined) => void;
  /** A job that must be run again, with more space. */
  readonly onAgain: (job: Job) => void;
}

const slotCount = 2;

export function createInstance(options: InstanceOptions): Instance {
  const { index, info, link, file, seconds, space, enlarge, onAnswered, onAgain } = options;
  const slots = Array.from({ length: slotCount }, (_, slot) => createSlot(slot));
  /** In the order they were sent. */
  const busy: { readonly slot: Slot; readonly job: Job; startedSeconds: number }[] = [];
  let slotBytes = 0;
  let growing = false;

  function freeSlot(): Slot | undefined {
    return slots.find((slot) => !busy.some((entry) => entry.slot === slot));
  }

  function run(job: Job): void {
    const slot = freeSlot();
    if (slot === undefined) throw new Error("the instance has no free slot");
    const layout = arrange(slot, info, job, space());
    if (layout.bytes <= slotBytes) start(slot, job, layout);
    else void grow(slot, job, layout);
  }

  /** Nothing is in flight here: MAP drops the host's old mapping. */
  async function grow(slot: Slot, job: Job, layout: SlotLayout): Promise<void> {
    const entry = { slot, job, startedSeconds: seconds() };
    busy.push(entry);
    growing = true;
    try {
      await mapSlots(layout.bytes);
      busy.pop();
      growing = false;
      start(slot, job, layout);
    } catch (error) {
      // A lost host takes its jobs along by `abandon`.
      if (error instanceof HostLostError) return;
      busy.pop();
      growing = false;
      job.reject(error as Error);
      onAnswered(undefined);
    }
  }

  async function mapSlots(bytes: number): Promise<void> {
    const wanted = alignTensor(Math.max(bytes, Math.ceil(slotBytes * 1.5)));
    file.grow(slotCount * wanted);
    const { status } = await link.request(frameType.map, { bytes: file.bytes });
    if (status !== frameStatus.ok) throw link.lose("garbage", `answered MAP with status ${status}`);
    slotBytes = wanted;
  }

  function start(slot: Slot, job: Job, layout: SlotLayout): void {
    const base = slot.index * slotBytes;
    const entry = { slot, job, startedSeconds: seconds() };
    for (let position = 0; position < layout.inputs.length; position += 1) {
      file.write((job.inputs[position] as Tensor).data, base + (layout.inputs[position]?.offset ?? 0));
    }
    busy.push(entry);
    link.send(frameOf(slot, layout, base, link.generation), (head, payload) => {
      if (entry.job.settled || answer(entry, layout, base, head, payload)) finish(entry);
    });
  }

  function finish(entry: { readonly startedSeconds: number }): void {
    busy.shift();
    const now = seconds();
    // The one that waited written begins when the one before it ends.
    if (busy[0] !== undefined) busy[0].startedSeconds = now;
    onAnswered(now - entry.startedSeconds);
  }

  /** Settles the job. False when the host is lost by what it answered. */
  function answer(
    { job, startedSeconds }: { readonly job: Job; readonly startedSeconds: number },
    layout: SlotLayout,
    base: number,
    head: FrameHead,
    payload: Buffer,
  ): boolean {
    try {
      switch (head.status) {
        case frameStatus.ok: {
          const outputs = readOutputs(info, layout.outputs, base, payload, file);
          job.resolve({
            outputs,
            engineSeconds: head.engineNanoseconds / 1e9,
            deviceSeconds: head.deviceNanoseconds === 0 ? undefined : head.deviceNanoseconds / 1e9,
            queueSeconds: startedSeconds - job.enqueuedSeconds,
            hostSeconds: seconds() - startedSeconds,
            instance: index,
          });
          return true;
        }
        case frameStatus.badRequest:
          job.reject(new GatewayError("invalid", errorIn(payload)));
          return true;
        case frameStatus.engineError:
          job.reject(
            new GatewayError("engineFailed", `the engine failed on this input: ${errorIn(payload)}`),
          );
          return true;
        case frameStatus.outputTooLarge: {
          const needed = JSON.parse(payload.toString()) as { index: number; bytes: number };
          const asked = layout.outputs.find((output) => output.index === needed.index);
          if (asked === undefined || !Number.isSafeInteger(needed.bytes) || needed.bytes <= asked.bytes) {
            throw new Error(`OUTPUT_TOO_LARGE for ${payload.toString().slice(0, 200)}`);
          }
          enlarge(needed.index, needed.bytes);
          onAgain(job);
          return true;
        }
        default:
          throw new Error(`status ${head.status} to INFER`);
      }
    } catch (error) {
      if (error instanceof GatewayError) {
        job.reject(error);
        return true;
      }
      link.lose("garbage", `answered ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }

  return {
    pid: link.pid,
    get inFlight() {
      return busy.length;
    },
    canTake(job) {
      if (growing) return false;
      const slot = freeSlot();
      if (slot === undefined) return false;
      return busy.length === 0 || arrange(slot, info, job, space()).bytes <= slotBytes;
    },
    run,
    prepare(inputShapes) {
      const outputs = info.outputs.map((_, output) => output);
      return mapSlots(layOut(info, inputShapes, outputs, space()).bytes);
    },
    async ping() {
      const { payload } = await link.request(frameType.ping);
      return JSON.parse(payload.toString()) as Record<string, unknown>;
    },
    residentBytes: () => residentBytesOf(link.pid),
    abandon() {
      const [running, ...waiting] = busy.splice(0).map(({ job }) => job);
      return { running, waiting };
    },
    async end() {
      await link.end();
      file.close();
    },
  };
}

function errorIn(payload: Buffer): string {
  const { error } = JSON.parse(payload.toString()) as { error: unknown };
  return String(error).slice(0, 2000);
}
